"""Ordered alloys against ASE asked directly, and a search for the most stable."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from test_campaign import kinds

from scilab.steering import Batch, Campaign, Forest
from scilab.steering.alloys import formation_energy, ordering_features, orderings, quick_formation_energy, written
from scilab.steering.presets import campaign_arguments
from scilab.steering.records import Evaluated

CU3AU = written("Au Cu Cu Cu Au Cu Cu Cu")


def lowest(atoms):
    """Energy per atom at the best volume: a fit of an equation of state through strained cells."""
    volumes, energies = [], []
    for strain in np.linspace(0.97, 1.03, 13):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * strain, scale_atoms=True)
        strained.calc = EMT()
        volumes.append(strained.get_volume())
        energies.append(strained.get_potential_energy())
    return EquationOfState(volumes, energies).fit()[1] / len(atoms)


def test_orderings_are_all_and_each_once():
    two = orderings(("Cu", "Au"))
    # Burnside: the eight shifts fix 256, 16, 16, 16, 16, 16, 16 and 16 (or 4) of the 2^8 ways.
    from scilab.steering.alloys import _shifts

    fixed = [2 ** len({frozenset(cycle(shift, site)) for site in range(8)}) for shift in _shifts()]
    assert len(two) == len(set(two)) == sum(fixed) / 8 and len(fixed) == 8
    assert all(written(each) == each for each in two) and written("Cu Cu Au Cu Cu Cu Au Cu") == written(
        "Cu Cu Cu Au Cu Cu Cu Au"
    )
    with pytest.raises(ValueError, match="elements are some of Al, Ni"):
        orderings(("Fe",))
    with pytest.raises(ValueError, match="an ordering is 8 of Al, Ni"):
        written("Cu Au")


def cycle(shift, site):
    seen = []
    while site not in seen:
        seen.append(site)
        site = shift[site]
    return seen


def test_formation_energies_are_ase_s():
    """Of L1_2, whose atoms stay where they are, in its own small cell; and of L1_0."""
    cube = Atoms("AuCu3", [(0, 0, 0), (0, 1.85, 1.85), (1.85, 0, 1.85), (1.85, 1.85, 0)], cell=[3.7] * 3, pbc=True)
    pure = {metal: lowest(bulk(metal, "fcc", a)) for metal, a in (("Cu", 3.6), ("Au", 4.06))}
    expected = lowest(cube) - 0.75 * pure["Cu"] - 0.25 * pure["Au"]
    assert formation_energy(CU3AU)["value"] == pytest.approx(expected, abs=2e-4)
    assert formation_energy("Cu " * 7 + "Cu")["value"] == 0.0
    assert formation_energy(CU3AU)["flag"] is None
    vegard, relaxed = quick_formation_energy(CU3AU)["value"], formation_energy(CU3AU)["value"]
    assert relaxed < vegard < relaxed + 0.02


def test_features_count_metals_and_neighbours():
    (row,) = ordering_features([CU3AU])
    metals, first = row[:7], row[7:35]
    assert metals.sum() == pytest.approx(1) and sorted(metals)[-2:] == pytest.approx([0.25, 0.75])
    # In L1_2 all twelve neighbours of a gold atom are copper, and four of copper's twelve are gold.
    assert sorted(first[first > 0]) == pytest.approx([0.5, 0.5]) and row[35:].sum() == pytest.approx(1)


def test_a_search_finds_more_stable_orderings_than_chance(threads):
    space = orderings(("Cu", "Pt"))
    one = Campaign(
        space, quick_formation_energy, maximize=False, threshold=-0.05, budget=24, initial=10, policy=Batch(7),
        retrain=5, surrogate=Forest(trees=20, features=ordering_features), engine=threads,
    )  # fmt: skip
    done = kinds(list(one), Evaluated)
    guided, start = [r.value for r in done if r.model], [r.value for r in done if not r.model]
    assert len(done) == 24 and np.mean(guided) < np.mean(start) and one.result.best == min(r.value for r in done)
    assert all(r.hit == (r.value < -0.05) for r in done)


def test_the_preset_is_this_search():
    given = campaign_arguments({"application": "alloy_stability", "elements": "Cu, Pt", "policy": "multifidelity"})
    assert given["space"] == orderings(("Cu", "Pt")) and given["maximize"] is False
    assert given["simulator"] == {"cheap": quick_formation_energy, "full": formation_energy}
    assert given["written"]("Pt Cu Cu Cu Cu Cu Cu Cu") == "Cu Cu Cu Cu Cu Cu Cu Pt"
