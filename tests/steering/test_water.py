"""Water clusters: energies and forces are tblite's, features and their derivatives fit together, and fitting helps."""

import numpy as np
import pytest
from ase import Atoms
from tblite.ase import TBLite
from test_campaign import as_json, kinds

from scilab.steering import Batch, Campaign, uncertainty
from scilab.steering import water as module
from scilab.steering.records import Evaluated, Learned
from scilab.steering.water import (
    DIMENSIONS,
    FittedPotential,
    Potential,
    energy_and_forces,
    errors,
    geometry,
    pair_features,
    pretrained,
    water_clusters,
)

HELD_OUT = [f"water2-{500_000 + number}" for number in range(12)]


def test_energies_and_forces_are_tblite_s():
    numbers, positions = geometry("water2-0003")
    atoms = Atoms(numbers, positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))
    found = energy_and_forces("water2-0003")
    np.testing.assert_allclose(np.reshape(found["forces"], (-1, 3)), atoms.get_forces(), atol=1e-5)
    apart = energy_and_forces("water2-0003")["value"] - energy_and_forces("water2-0004")["value"]
    other = Atoms(*geometry("water2-0004"), calculator=TBLite(method="GFN2-xTB", verbosity=0))
    assert 2 * apart == pytest.approx(atoms.get_potential_energy() - other.get_potential_energy(), abs=1e-5)


def test_clusters_are_what_they_say():
    assert water_clusters(3, 2) == ("water3-0000", "water3-0001")
    for name in water_clusters(4, 5):
        numbers, positions = geometry(name)
        oxygens = positions[::3]
        apart = np.linalg.norm(oxygens[:, None] - oxygens, axis=2)[np.triu_indices(4, 1)]
        assert numbers.tolist() == [8, 1, 1] * 4 and apart.min() > 2.0
        bonds = np.linalg.norm(positions[1::3] - positions[::3], axis=1)
        assert np.abs(bonds - 0.9572).max() < 0.4
    for name in ("ice-1", "water9-0001", "water3"):
        with pytest.raises(ValueError, match="is no cluster"):
            geometry(name)


def test_forces_are_minus_the_derivatives_of_energies(monkeypatch):
    numbers, positions = geometry("water2-0007")
    rows = pair_features(["water2-0007"]).reshape(-1, DIMENSIONS)
    step = 1e-5
    for at in range(3 * len(numbers)):
        moved = []
        for sign in (1, -1):
            there = positions.copy()
            there.flat[at] += sign * step
            monkeypatch.setattr(module, "geometry", lambda _, there=there: (numbers, there))
            moved.append(module._pairs.__wrapped__("")[:DIMENSIONS])
        # The energy is per molecule, forces are not.
        np.testing.assert_allclose(rows[1 + at], -2 * (moved[0] - moved[1]) / (2 * step), atol=1e-6)


def test_a_potential_of_its_own_kind_is_found_again():
    truth = np.random.default_rng(0).standard_normal(DIMENSIONS)
    names = water_clusters(2, 30)
    x = pair_features(names)
    y = x.reshape(30, -1, DIMENSIONS) @ truth
    model = Potential(ridge=1e-12, prior=False).fit(x, y[:, 0], 0, y[:, 1:].tolist())
    energies, forces = model.energies_and_forces(x)
    np.testing.assert_allclose(energies, y[:, 0], atol=1e-6)
    np.testing.assert_allclose(forces, y[:, 1:], atol=1e-5)
    mean, std = model.predict(x)
    np.testing.assert_allclose(mean, energies)
    each = np.stack([x.reshape(30, -1, DIMENSIONS)[:, 1:] @ c for c in model.coefficients])
    np.testing.assert_allclose(std, np.sqrt(((each - each.mean(0)) ** 2).mean(0).mean(1)), atol=1e-9)


def test_fine_tuning_mends_what_the_cheap_theory_gets_wrong(threads):
    one = Campaign(water_clusters(2, 80), energy_and_forces, budget=30, initial=10, retrain=10, policy=Batch(10),
                   surrogate=Potential(), acquisition=uncertainty(), engine=threads)  # fmt: skip
    records = list(one)
    done = kinds(records, Evaluated)
    model = Potential().fit(
        pair_features([r.candidate for r in done]), np.array([r.value for r in done]), 0,
        [r.details["forces"] for r in done],
    )  # fmt: skip
    before, after = errors(FittedPotential(pretrained(2)[None]), HELD_OUT), errors(model, HELD_OUT)
    assert after[0] < 0.8 * before[0] and after[1] < before[1]
    first = kinds(records, Learned)[0]
    chosen = [r for r in done if r.model == 1]
    queue = [*(d.candidate for d in first.then), *(name for name, *_ in first.top)]  # those begun at once, the others
    assert len(chosen) == 10 and {r.candidate for r in chosen} == set(queue[:10])
    assert one.replay(as_json(records)) == 30 + len(kinds(records, Learned))


def test_the_preset_is_this_campaign(threads):
    one = Campaign.from_settings({"application": "water_potential", "molecules": 2, "clusters": 30, "budget": 20,
                                  "retrain_every": 5}, engine=threads)  # fmt: skip
    assert isinstance(one.surrogate, Potential) and one.acquisition == uncertainty()
    assert len(kinds(list(one), Learned)) == 1
    with pytest.raises(ValueError, match="'potential' cannot learn ionization_potential"):
        Campaign.from_settings({"surrogate": "potential", "heavy_atoms": 1})
