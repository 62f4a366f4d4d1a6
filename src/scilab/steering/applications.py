"""What can be searched for out of the box: a space, a simulator of two fidelities, features, and how to speak of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import alloys, water
from .enumeration import enumerate_molecules
from .fingerprints import composition
from .ionization import ionization_potential, quick_ionization_potential
from .smiles_file import read_smiles

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Application:
    """`title`, `quantity` and `unit` are words for people; `drawn` says whether candidates are SMILES, to be drawn.

    The functions take the values of `presets.DEFAULTS`; `full` and `cheap` give simulators of one candidate;
    `written` is `Campaign`'s.
    """

    title: str
    quantity: str
    unit: str
    drawn: bool
    space: Callable[[Values], Sequence[str]]
    full: Callable[[Values], Callable]
    cheap: Callable[[Values], Callable]
    features: Callable[[Sequence[str]], np.ndarray]
    written: Callable[[str], str]

    def simulator(self, values: Values) -> Callable:
        """The simulator that counts."""
        return self.full(values)

    def both(self, values: Values) -> dict[str, Callable]:
        """The simulators by fidelity, the cheap one first."""
        return {"cheap": self.cheap(values), "full": self.full(values)}


def _molecules(values: Values) -> Sequence[str]:
    if values["candidates"] is not None:
        return read_smiles(values["candidates"])
    return read_smiles(values["file"]) if values["file"] else enumerate_molecules(values["heavy_atoms"])


def _words(elements: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(elements.replace(",", " ").split() if isinstance(elements, str) else elements)


APPLICATIONS = {
    "ionization_potential": Application(
        "Molecules of high ionization potential", "ionization potential", "eV", True, _molecules,
        lambda values: partial(ionization_potential, method=values["method"]),
        lambda values: partial(quick_ionization_potential, method=values["method"]),
        composition, lambda text: read_smiles([text])[0],
    ),
    "alloy_stability": Application(
        "Ordered alloys of low formation energy", "formation energy", "eV per atom", False,
        lambda values: values["candidates"] or alloys.orderings(_words(values["elements"])),
        lambda values: alloys.formation_energy, lambda values: alloys.quick_formation_energy,
        alloys.ordering_features, alloys.written,
    ),
    "water_potential": Application(
        "A potential of water, learned where it knows least", "energy", "eV per molecule", False,
        lambda values: values["candidates"] or water.water_clusters(values["molecules"], values["clusters"]),
        lambda values: water.energy_and_forces, lambda values: water.cheap_energy_and_forces,
        water.pair_features, water.written,
    ),
}  # fmt: skip
