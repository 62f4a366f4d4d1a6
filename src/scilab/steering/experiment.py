"""Ionization potentials as measured, and the shift that brings computed ones to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .ionization import ionization_potential

WEBBOOK = "NIST Chemistry WebBook, SRD 69, gas phase ion energetics, evaluated IE of {name}, CAS {cas}"

EXPERIMENT = {
    "O": (12.621, "water", "7732-18-5"),
    "CO": (10.84, "methanol", "67-56-1"),
    "C=O": (10.88, "formaldehyde", "50-00-0"),
    "CC=O": (10.229, "acetaldehyde", "75-07-0"),
    "CC(C)=O": (9.703, "acetone", "67-64-1"),
    "COC": (10.025, "dimethyl ether", "115-10-6"),
    "C1CO1": (10.56, "oxirane", "75-21-8"),
    "O=CO": (11.33, "formic acid", "64-18-6"),
    "C#N": (13.60, "hydrogen cyanide", "74-90-8"),
    "CC#N": (12.20, "acetonitrile", "75-05-8"),
    "C#C": (11.400, "acetylene", "74-86-2"),
    "C=C": (10.5138, "ethylene", "74-85-1"),
    "C=CC": (9.73, "propene", "115-07-1"),
    "O=C=O": (13.777, "carbon dioxide", "124-38-9"),
    "N#N": (15.5808, "nitrogen", "7727-37-9"),
    "c1ccccc1": (9.24378, "benzene", "71-43-2"),
    "Cc1ccccc1": (8.828, "toluene", "108-88-3"),
    "c1ccoc1": (8.88, "furan", "110-00-9"),
    "c1cc[nH]c1": (8.207, "pyrrole", "109-97-7"),
}
"""SMILES → (ionization energy in eV, name, CAS number), each as `WEBBOOK` cites it. The energies are adiabatic; taken
are molecules in which the vertical ones lie close, so without methane and the amines, whose cations look otherwise."""


@dataclass(frozen=True)
class Shift:
    """Add `shift` (eV) to a value computed by `method` to compare it with experiment.

    `mae` (eV) is what is left, on average, when each molecule is predicted from the others' shift; `provenance` says
    in a sentence where the shift comes from.
    """

    method: str
    shift: float
    mae: float
    molecules: int
    provenance: str


@cache
def shift_to_experiment(method: str = "GFN2") -> Shift:
    """The mean difference between experiment and computation over the molecules of `EXPERIMENT`, computed here."""
    gaps = [measured - ionization_potential(smiles, method)["value"] for smiles, (measured, *_) in EXPERIMENT.items()]
    count, total = len(gaps), sum(gaps)
    left_out = [abs(gap - (total - gap) / (count - 1)) for gap in gaps]
    shift, mae = total / count, sum(left_out) / count
    provenance = (
        f"{shift:+.2f} eV is the mean of measured minus {method} values over {count} molecules of the NIST Chemistry "
        f"WebBook (SRD 69); leave-one-out mean error {mae:.2f} eV"
    )
    return Shift(method, shift, mae, count, provenance)
