"""Vertical ionization potentials: RDKit's first geometry, then extended tight binding.

GFN2-xTB: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019). IPEA1-xTB, fitted to ionization
potentials: V. Ásgeirsson, C. A. Bauer, S. Grimme, Chem. Sci. 8, 4879 (2017). Both by tblite.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

METHODS = {"GFN2": "GFN2-xTB", "IPEA1": "IPEA1-xTB"}
HARTREE_EV, BOHR_ANGSTROM = 27.211386245988, 0.529177210903
"""CODATA 2018."""
FORCE_EV_ANGSTROM, STEPS = 0.05, 200
SEED = 7
BOND_STRETCH = 1.3
"""Two atoms are bonded while they are nearer than this many times the sum of their covalent radii."""


def ionization_potential(smiles: str, method: str = "GFN2") -> dict[str, Any]:
    """E(cation) − E(molecule) in eV at the molecule's geometry relaxed with the same method, the largest force below
    0.05 eV/Å.

    Returns "value" as computed (see `shift_to_experiment`), "steps" of relaxation, and "flag": "rearranged" if the
    relaxed molecule has other bonds than the SMILES. The same everywhere, bit for bit: one fixed seed, one thread.

    Raises:
        ValueError: a SMILES that RDKit cannot read or has no geometry for, or an unknown method.
        RuntimeError: the tight binding did not converge, or the relaxation not in 200 steps.
    """
    with _one_thread():
        molecule, numbers, positions = geometry(smiles)
        relaxed, steps = _relaxed(numbers, positions, _parameters(method))
        value = _vertical(numbers, relaxed, method)
        flag = None if _bonds_stand(molecule, numbers, relaxed) else "rearranged"
        return {"value": value, "flag": flag, "steps": steps}


def quick_ionization_potential(smiles: str, method: str = "GFN2") -> dict[str, Any]:
    """As `ionization_potential`, at the force field's geometry: the cheap fidelity, about a tenth of the cost.

    Raises ValueError and RuntimeError as it does.
    """
    with _one_thread():
        _, numbers, positions = geometry(smiles)
        return {"value": _vertical(numbers, positions, method)}


def geometry(smiles: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """(RDKit's molecule with hydrogens, atomic numbers (n,), positions (n, 3) in Å) by ETKDG version 3 and MMFF94, or
    UFF where MMFF94 has no parameters.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            raise ValueError(f"{smiles!r} is no SMILES that RDKit can read")
        molecule = Chem.AddHs(molecule)
        settings = AllChem.ETKDGv3()
        settings.randomSeed = SEED
        if AllChem.EmbedMolecule(molecule, settings) != 0:
            settings.useRandomCoords = True
            if AllChem.EmbedMolecule(molecule, settings) != 0:
                raise ValueError(f"RDKit finds no geometry for {smiles!r}")
        if AllChem.MMFFHasAllMoleculeParams(molecule):
            AllChem.MMFFOptimizeMolecule(molecule, maxIters=500)
        elif AllChem.UFFHasAllMoleculeParams(molecule):
            AllChem.UFFOptimizeMolecule(molecule, maxIters=500)
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    return molecule, numbers, np.array(molecule.GetConformer().GetPositions())


def energy(numbers: np.ndarray, positions: np.ndarray, method: str, charge: int = 0, unpaired: int = 0) -> float:
    """A molecule's energy in hartree, positions in Å."""
    from tblite.interface import Calculator

    calculator = Calculator(_parameters(method), numbers, positions / BOHR_ANGSTROM, charge, unpaired)
    calculator.set("verbosity", 0)
    return float(calculator.singlepoint().get("energy"))


def _vertical(numbers: np.ndarray, positions: np.ndarray, method: str) -> float:
    unpaired = int(numbers.sum()) % 2  # of the molecule; the cation has one electron less
    cation = energy(numbers, positions, method, 1, 1 - unpaired)
    return (cation - energy(numbers, positions, method, 0, unpaired)) * HARTREE_EV


def _relaxed(numbers: np.ndarray, positions: np.ndarray, parameters: str) -> tuple[np.ndarray, int]:
    from ase import Atoms
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    atoms = Atoms(numbers, positions)
    atoms.calc = TBLite(method=parameters, verbosity=0)
    search = BFGS(atoms, logfile=None)
    if not search.run(fmax=FORCE_EV_ANGSTROM, steps=STEPS):
        raise RuntimeError(f"not relaxed after {STEPS} steps")
    return atoms.get_positions(), search.get_number_of_steps()


def _bonds_stand(molecule: Any, numbers: np.ndarray, positions: np.ndarray) -> bool:
    """Whether exactly the molecule's bonds are as short as bonds are."""
    from ase.data import covalent_radii

    radii = covalent_radii[numbers]
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = np.triu(apart < BOND_STRETCH * (radii[:, None] + radii[None]), 1)
    bonds = np.zeros_like(near)
    for bond in molecule.GetBonds():
        low, high = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonds[low, high] = True
    return bool((near == bonds).all())


def _parameters(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method]


@cache
def _openmp() -> Any:
    import tblite.interface  # noqa: F401  (first: only libraries that are loaded can be limited)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")


def _one_thread() -> Any:
    """Tblite in one OpenMP thread: two are slower, might differ in the last bits, and deadlock after a fork."""
    return _openmp().limit(limits=1)
