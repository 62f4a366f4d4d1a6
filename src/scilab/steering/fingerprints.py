"""Molecules as numbers for a model: counts of substructures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BITS = 1024


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """(n, 2048) counts, 0 to 255: Morgan environments of radius 2 (Rogers and Hahn 2010) and pairs of atoms
    (Carhart et al. 1985), each hashed to 1024 places.

    Raises:
        ValueError: a SMILES that RDKit cannot read.
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    kinds = (
        rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS),
        rdFingerprintGenerator.GetAtomPairGenerator(fpSize=BITS),
    )
    counts = np.zeros((len(smiles), 2 * BITS), dtype=np.uint8)
    for row, text in enumerate(smiles):
        molecule = Chem.MolFromSmiles(text)
        if molecule is None:
            raise ValueError(f"{text!r} is no SMILES that RDKit can read")
        for half, kind in enumerate(kinds):
            found = kind.GetCountFingerprintAsNumPy(molecule)
            counts[row, half * BITS : (half + 1) * BITS] = np.minimum(found, 255)
    return counts
