"""Molecules as numbers for a model: what they are made of, and counts of substructures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BITS = 1024
ELEMENTS = ("C", "N", "O", "F", "H")
ORDERS = (1.0, 1.5, 2.0, 3.0)
HYDROGENS = (0, 1, 2, 3)


def composition(smiles: Sequence[str]) -> np.ndarray:
    """(n, 28) of each molecule: its atoms of C, N, O, F and H, in number and per heavy atom; its bonds of order 1, 1.5,
    2 and 3; its rings; its C, N and O atoms by how many hydrogens they bear (0 to 3), per heavy atom; its heavy atoms.

    Few and telling: a hundred values are enough to learn from. Other elements count as heavy atoms only.

    Raises:
        ValueError: a SMILES that RDKit cannot read.
    """
    rows = np.zeros((len(smiles), 28), dtype=np.float32)
    for row, text in zip(rows, smiles, strict=True):
        molecule = _read(text)
        heavy = molecule.GetNumAtoms()
        for atom in molecule.GetAtoms():
            symbol, hydrogens = atom.GetSymbol(), atom.GetTotalNumHs()
            row[4] += hydrogens
            if symbol in ELEMENTS:
                row[ELEMENTS.index(symbol)] += 1
            if symbol in "CNO" and hydrogens in HYDROGENS:
                row[15 + 4 * "CNO".index(symbol) + hydrogens] += 1 / heavy
        row[5:10] = row[:5] / heavy
        for bond in molecule.GetBonds():
            if bond.GetBondTypeAsDouble() in ORDERS:
                row[10 + ORDERS.index(bond.GetBondTypeAsDouble())] += 1
        row[14] = molecule.GetRingInfo().NumRings()
        row[27] = heavy
    return rows


def _read(text: str) -> Any:
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(text)
    if molecule is None or not molecule.GetNumAtoms():
        raise ValueError(f"{text!r} is no SMILES that RDKit can read")
    return molecule


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """(n, 2048) counts, 0 to 255: Morgan environments of radius 2 (Rogers and Hahn 2010) and pairs of atoms
    (Carhart et al. 1985), each hashed to 1024 places.

    Raises:
        ValueError: a SMILES that RDKit cannot read.
    """
    from rdkit.Chem import rdFingerprintGenerator

    kinds = (
        rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS),
        rdFingerprintGenerator.GetAtomPairGenerator(fpSize=BITS),
    )
    counts = np.zeros((len(smiles), 2 * BITS), dtype=np.uint8)
    for row, text in enumerate(smiles):
        molecule = _read(text)
        for half, kind in enumerate(kinds):
            found = kind.GetCountFingerprintAsNumPy(molecule)
            counts[row, half * BITS : (half + 1) * BITS] = np.minimum(found, 255)
    return counts
