"""Molecules: the space, files of SMILES, ionization potentials against tblite, another's prototype and experiment."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import BFGS
from rdkit import Chem
from tblite.ase import TBLite

from scilab.steering import Campaign, Forest, MultiFidelity, ucb
from scilab.steering.enumeration import HOPELESS, STRUCK_OUT
from scilab.steering.ionization import HARTREE_EV, energy, geometry
from scilab.steering.molecules import (
    EXPERIMENT,
    composition,
    enumerate_molecules,
    fingerprints,
    ionization_potential,
    quick_ionization_potential,
    read_smiles,
    shift_to_experiment,
)  # fmt: skip
from scilab.steering.records import Evaluated, Learned

SOME = ("O", "CO", "C=O", "CC#N", "FC1N=CO1", "C1CC1", "FC(F)(F)F")


def test_the_space_by_size():
    sizes = [len(enumerate_molecules(atoms)) for atoms in range(1, 5)]
    assert sizes == [4, 19, 57, 278]
    space = enumerate_molecules(4)
    assert list(space) == list(dict.fromkeys(space)) == [Chem.CanonSmiles(smiles) for smiles in space]
    atoms = [Chem.MolFromSmiles(smiles).GetNumAtoms() for smiles in space]
    assert atoms == sorted(atoms) and max(atoms) == 4


def test_the_space_is_closed_under_its_own_rules():
    """What chemists would name is in it, what the rules name is not: by RDKit's matching, molecule by molecule."""
    space = set(enumerate_molecules(4))
    ordinary = ("CCO", "CC(C)C", "C1CCC1", "C#CC=C", "NC(N)=O", "CC(=O)O", "CC(F)F", "C1CO1", "CN(C)C", "O=CC=O")
    assert {Chem.CanonSmiles(smiles) for smiles in ordinary} <= space
    # All alkanes, of which there are 1, 1, 1 and 2 (Cayley 1875).
    assert sum(set(smiles) <= set("C()") for smiles in space) == 5
    patterns = [Chem.MolFromSmarts(smarts) for smarts in (HOPELESS | STRUCK_OUT).values()]
    assert not any(Chem.MolFromSmiles(smiles).HasSubstructMatch(pattern) for smiles in space for pattern in patterns)
    for smiles in ("OO", "FN", "C=C=C", "C1=CC1", "C=CO", "OCO", "NNN", "C=C1CC1"):
        assert Chem.CanonSmiles(smiles) not in space
    with pytest.raises(ValueError, match="whole number from 1 to 7"):
        enumerate_molecules(8)


def test_fingerprints_count_what_is_there():
    methane, ethane, twice = fingerprints(["C", "CC", "CC"])
    assert methane.sum() == 1  # one carbon, and no pair
    assert ethane[1024:].sum() == 1  # one pair of atoms
    assert ethane[:1024].sum() == 3  # two methyl groups, and their one environment
    assert (ethane == twice).all() and ethane.dtype == np.uint8
    with pytest.raises(ValueError, match="'xyz' is no SMILES"):
        fingerprints(["xyz"])


def test_composition_is_what_a_chemist_counts():
    ethanol, nitrile, furan = composition(["CCO", "N#CCF", "c1ccoc1"])
    names = [*(f"n{e}" for e in "CNOFH"), *(f"x{e}" for e in "CNOFH"), "single", "aromatic", "double", "triple",
             "rings", *(f"{e}H{h}" for e in "CNO" for h in range(4)), "heavy"]  # fmt: skip
    told = dict(zip(names, ethanol.tolist(), strict=True))
    assert {name: value for name, value in told.items() if value} == pytest.approx(
        {"nC": 2, "nO": 1, "nH": 6, "xC": 2 / 3, "xO": 1 / 3, "xH": 2, "single": 2, "CH3": 1 / 3, "CH2": 1 / 3,
         "OH1": 1 / 3, "heavy": 3})  # fmt: skip
    told = dict(zip(names, nitrile.tolist(), strict=True))
    assert (told["triple"], told["single"], told["nF"], told["CH0"], told["NH0"]) == (1, 2, 1, 0.25, 0.25)
    told = dict(zip(names, furan.tolist(), strict=True))
    assert (told["aromatic"], told["rings"], told["CH1"], told["heavy"]) == (5, 1, pytest.approx(0.8), 5)
    with pytest.raises(ValueError, match="'xyz' is no SMILES"):
        composition(["xyz"])


def test_a_file_of_smiles(tmp_path):
    file = tmp_path / "mine.smi"
    file.write_text("smiles,name\nOCC,ethanol\n\n# a comment\nCCO  again\nc1ccccc1\tbenzene\n")
    assert read_smiles(file) == ["CCO", "c1ccccc1"]
    file.write_text("CCO\nC(C\nCC\nhello\n[Na+].[Cl-]\n")
    says = "line 2: 'C(C' is no SMILES; line 4: 'hello' is no SMILES; line 5: '[Na+].[Cl-]' is more than one molecule"
    with pytest.raises(ValueError, match=re.escape(says)):
        read_smiles(file)
    with pytest.raises(ValueError, match="there is no molecule in it"):
        read_smiles(["", "# nothing"])


@pytest.mark.parametrize(
    ("smiles", "published"),
    [("O", 18.293), ("C", 16.943), ("CO", 15.460), ("C=O", 15.891), ("FC(F)(F)F", 20.234), ("CN(C)C", 13.150)],
)
def test_ionization_potentials_are_those_of_an_independent_prototype(smiles, published):
    """RDKit, ASE and tblite put together by other hands, to the digits that were noted."""
    assert ionization_potential(smiles)["value"] == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("method", ["GFN2-xTB", "IPEA1-xTB"])
def test_energies_are_tblite_s_own(method):
    _, numbers, positions = geometry("CC=O")
    name = method.removesuffix("-xTB")
    total = {}
    for charge in (0, 1):
        atoms = Atoms(numbers, positions)
        atoms.calc = TBLite(method=method, charge=charge, multiplicity=1 + charge, verbosity=0)
        total[charge] = atoms.get_potential_energy()
        assert energy(numbers, positions, name, charge, charge) * HARTREE_EV == pytest.approx(total[charge], abs=1e-5)
    assert quick_ionization_potential("CC=O", name)["value"] == pytest.approx(total[1] - total[0], abs=1e-5)
    relaxed = Atoms(numbers, positions, calculator=TBLite(method=method, verbosity=0))
    BFGS(relaxed, logfile=None).run(fmax=0.05)
    assert np.abs(relaxed.get_forces()).max() < 0.06
    found = ionization_potential("CC=O", name)
    relaxed.calc = TBLite(method=method, charge=1, multiplicity=2, verbosity=0)
    cation = relaxed.get_potential_energy()
    relaxed.calc = TBLite(method=method, verbosity=0)
    assert found["value"] == pytest.approx(cation - relaxed.get_potential_energy(), abs=2e-3)


def test_what_rearranges_is_flagged():
    assert ionization_potential("FC1N=CO1")["flag"] == "rearranged"
    assert {ionization_potential(smiles)["flag"] for smiles in EXPERIMENT} == {None}


def test_wrong_questions():
    with pytest.raises(ValueError, match="no SMILES that RDKit can read"):
        ionization_potential("C(C")
    with pytest.raises(ValueError, match="no method 'PBE'; there are GFN2, IPEA1"):
        ionization_potential("C", "PBE")


SCRIPT = f"""
from scilab.steering.molecules import ionization_potential
print(",".join(ionization_potential(smiles)["value"].hex() for smiles in {SOME!r}))
"""


def test_the_same_bits_serially_on_threads_in_processes_and_whatever_openmp_was_told(threads, processes):
    serial = {smiles: ionization_potential(smiles) for smiles in SOME}
    for engine in (threads, processes):
        with engine.session() as session:
            for smiles in SOME:
                session.submit(ionization_potential, smiles, tag=smiles)
            for _ in SOME:
                done = session.next(120)
                assert done.value == serial[done.tag], engine.name
    two = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT]
    told = subprocess.run(command, env=two, capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.strip() == ",".join(serial[smiles]["value"].hex() for smiles in SOME)


@pytest.mark.parametrize(("method", "at_most"), [("GFN2", 0.6), ("IPEA1", 0.5)])
def test_shifted_to_experiment(method, at_most):
    shift = shift_to_experiment(method)
    computed = np.array([ionization_potential(smiles, method)["value"] for smiles in EXPERIMENT])
    measured = np.array([value for value, _, _ in EXPERIMENT.values()])
    errors = []
    for out in range(len(computed)):
        kept = np.arange(len(computed)) != out
        errors.append(abs(measured[out] - computed[out] - (measured[kept] - computed[kept]).mean()))
    assert shift.mae == pytest.approx(np.mean(errors)) and shift.mae <= at_most
    assert shift.shift == pytest.approx((measured - computed).mean())
    assert "19 molecules of the NIST Chemistry WebBook" in shift.provenance
    assert all(re.fullmatch(r"\d{2,7}-\d\d-\d", cas) for _, _, cas in EXPERIMENT.values())
    for _, name, cas in EXPERIMENT.values():  # a registry number ends with its check digit
        digits = cas.replace("-", "")
        assert sum(i * int(d) for i, d in enumerate(reversed(digits[:-1]), 1)) % 10 == int(digits[-1]), name


def test_a_real_campaign_of_two_fidelities(threads):
    space = enumerate_molecules(3)
    one = Campaign(
        space, {"cheap": quick_ionization_potential, "full": ionization_potential}, budget=6, threshold=17.0,
        surrogate=Forest(trees=20), acquisition=ucb(1.0), initial=3, retrain=3, policy=MultiFidelity(3), engine=threads,
    )  # fmt: skip
    records = list(one)
    full = [r for r in records if isinstance(r, Evaluated) and r.fidelity == "full"]
    assert all(r.value == ionization_potential(r.candidate)["value"] for r in full)
    assert len(full) == 6 and any(isinstance(r, Learned) for r in records)
    assert threads.store.count() == 0
