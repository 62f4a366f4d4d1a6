"""Molecules as a search space, and what is searched for: the ionization potential."""

from .enumeration import enumerate_molecules
from .experiment import EXPERIMENT, Shift, shift_to_experiment
from .fingerprints import composition, fingerprints
from .ionization import ionization_potential, quick_ionization_potential
from .smiles_file import read_smiles

__all__ = [
    "EXPERIMENT",
    "Shift",
    "composition",
    "enumerate_molecules",
    "fingerprints",
    "ionization_potential",
    "quick_ionization_potential",
    "read_smiles",
    "shift_to_experiment",
]
