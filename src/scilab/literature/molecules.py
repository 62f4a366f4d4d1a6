"""What is known of a name: its structure, how drug-like that is, and whether it was screened before."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from .names import normalised

TABLE = Path(__file__).with_name("molecules.txt")
_SALTS = re.compile(
    r"[ -](?:(?:mono|di|tri)?(?:hydrochloride|hydrobromide|phosphate|sulfate|sulphate|mesylate|maleate|tartrate|"
    r"citrate|acetate|fumarate|succinate|besylate|sodium|potassium|calcium|hydrate|hcl))+$"
)


@dataclass(frozen=True)
class DrugLikeness:
    """Of one structure.

    `qed` is the quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012), as RDKit computes it.
    `lipinski` counts the rules of five that it breaks (Lipinski et al. 1997): molecular weight above 500 g/mol, logP
    (Crippen) above 5, more than 5 donors or 10 acceptors of hydrogen bonds.
    """

    qed: float
    lipinski: int


@lru_cache(maxsize=65536)
def drug_likeness(smiles: str) -> DrugLikeness:
    """Raises ValueError if RDKit cannot read the SMILES, or it is empty."""
    from rdkit import Chem
    from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise ValueError(f"RDKit cannot read the SMILES {smiles!r}")
    broken = (
        Descriptors.MolWt(molecule) > 500,
        Crippen.MolLogP(molecule) > 5,
        rdMolDescriptors.CalcNumLipinskiHBD(molecule) > 5,
        rdMolDescriptors.CalcNumLipinskiHBA(molecule) > 10,
    )
    return DrugLikeness(QED.qed(molecule), sum(broken))


def skeleton(smiles: str) -> str | None:
    """Identifies the constitution of the largest part of a structure (the first block of its InChIKey): the same for
    stereoisomers, charges of the same skeleton and salts. None if RDKit cannot read it.
    """
    from rdkit import Chem, RDLogger
    from rdkit.Chem.MolStandardize import rdMolStandardize

    RDLogger.DisableLog("rdApp.*")
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        return None
    parts = Chem.GetMolFrags(molecule, asMols=True)
    largest = max(parts, key=lambda part: part.GetNumHeavyAtoms())
    return Chem.MolToInchiKey(rdMolStandardize.Uncharger().uncharge(largest)).partition("-")[0] or None


@cache
def table() -> Mapping[str, str]:
    """{key: SMILES} of common drugs and chemicals, names and synonyms, without stereochemistry.

    Written by hand for scilab; a test compares each molecule's formula with one noted independently.
    """
    return {
        normalised(name).key: smiles
        for line in TABLE.read_text(encoding="utf-8").splitlines()
        for names, smiles, _ in [line.split("|")]
        for name in names.split(";")
    }


class Molecules:
    """Looks names up. `screened` are molecules that somebody screened before, {name: SMILES}, a SMILES may be "": for
    the paper's own list `{each.name: each.smiles for each in screened_molecules()}`.

    Names of the list that the embedded table does not have are looked up in it, too.
    """

    def __init__(self, screened: Mapping[str, str] | None = None) -> None:
        self._screened: dict[str, str] = {}
        for name, smiles in (screened or {}).items():
            self._screened.setdefault(normalised(name).key, smiles.strip())
        self._smiles = {**{key: smiles for key, smiles in self._screened.items() if smiles}, **table()}
        self._skeletons: set[str | None] | None = None

    @classmethod
    def screened_in(cls, path: str | Path) -> Molecules:
        """With a list in a CSV file: a column "molecule" or "name", and if there is one "pubchem_smiles", "smiles" or
        "canonical_smiles".

        Raises:
            ValueError: there is no such column.
        """
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
            name = columns.get("molecule") or columns.get("name")
            if name is None:
                found = ", ".join(columns) or "none"
                raise ValueError(f'{path} has no column "molecule" or "name"; its columns are {found}')
            smiles = [columns[each] for each in ("pubchem_smiles", "smiles", "canonical_smiles") if each in columns]
            listed: dict[str, str] = {}
            for row in rows:
                if (row[name] or "").strip() and not listed.get(row[name]):
                    listed[row[name]] = next((row[each] for each in smiles if row[each]), "")
            return cls(listed)

    @property
    def list(self) -> dict[str, str]:
        """The screened molecules by key."""
        return dict(self._screened)

    def smiles(self, key: str) -> str | None:
        """The structure behind a normalised name; of a salt named after its parent ("chloroquine phosphate"), the
        parent's.
        """
        return self._smiles.get(key) or self._smiles.get(_SALTS.sub("", key))

    def screened(self, key: str) -> bool | None:
        """Whether it is in the list, by name or by constitution; None without a list."""
        if not self._screened:
            return None
        if key in self._screened or _SALTS.sub("", key) in self._screened:
            return True
        smiles = self.smiles(key)
        if smiles is None:
            return False
        if self._skeletons is None:
            self._skeletons = {skeleton(each) for each in _each(self._screened.values())} - {None}
        return skeleton(smiles) in self._skeletons


def _each(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(text for text in texts if text)
