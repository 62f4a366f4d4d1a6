"""Structures of names, against formulas noted independently and published properties."""

import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from scilab.literature.molecules import TABLE, Molecules, drug_likeness, skeleton, table
from scilab.literature.names import normalised

ROWS = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines()]


def test_each_structure_has_the_formula_noted_beside_it():
    wrong = []
    for names, smiles, formula in ROWS:
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or CalcMolFormula(molecule) != formula:
            wrong.append(names)
    assert wrong == []


def test_no_name_stands_twice_and_each_is_found():
    keys = [normalised(name).key for names, _, _ in ROWS for name in names.split(";")]
    assert len(set(keys)) == len(keys) == len(table()) > 350
    molecules = Molecules()
    assert molecules.smiles("vitamin c") == molecules.smiles("ascorbic acid") == "OCC(O)C1OC(=O)C(O)=C1O"
    assert molecules.smiles("unheard of") is None


def test_drug_likeness_of_known_molecules():
    # Bickerton et al. 2012 give aspirin 0.55 in RDKit's documentation of QED; lopinavir breaks the rule of weight only.
    assert drug_likeness(table()["aspirin"]).qed == pytest.approx(0.55, abs=0.005)
    assert drug_likeness(table()["aspirin"]).lipinski == 0
    assert drug_likeness(table()["lopinavir"]).lipinski == 1
    assert drug_likeness(table()["azithromycin"]).lipinski == 2  # 749 g/mol, 14 acceptors
    with pytest.raises(ValueError, match="cannot read the SMILES"):
        drug_likeness("C1CC")


def test_a_salt_has_its_parent():
    molecules = Molecules()
    for salt in ("chloroquine phosphate", "chloroquine diphosphate"):
        assert molecules.smiles(salt) == table()["chloroquine"]
    assert molecules.smiles("hydrogen phosphate") is None


def test_screened_before_by_name_or_by_constitution(tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text(
        "\ufeffmolecule,identifier,pubchem_smiles\n"
        "Fancy-123,1,CCN(CC)CCC[C@@H](C)Nc1c2ccc(Cl)cc2ncc1\n"  # one hand of chloroquine
        "Sodium aspirin,2,CC(=O)Oc1ccccc1C(=O)[O-].[Na+]\n"
        "Nameless,3,\n",
        encoding="utf-8",
    )
    molecules = Molecules.screened_in(listed)
    assert all(molecules.screened(key) for key in ("fancy-123", "chloroquine", "aspirin", "nameless"))
    assert [molecules.screened(key) for key in ("ibuprofen", "unheard of")] == [False, False]
    assert molecules.smiles("fancy-123") == "CCN(CC)CCC[C@@H](C)Nc1c2ccc(Cl)cc2ncc1"
    assert Molecules().screened("aspirin") is None
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r'no column "molecule" or "name"; its columns are a, b'):
        Molecules.screened_in(tmp_path / "other.csv")


def test_a_skeleton_has_no_hands_and_no_salt():
    assert skeleton("C[C@H](N)C(=O)O") == skeleton("C[C@@H]([NH3+])C(=O)[O-]") == skeleton("CC(N)C(=O)[O-].[Na+]")
    assert skeleton("CC(N)C(=O)O") != skeleton("NCCC(=O)O")
    assert skeleton("no smiles") is None
