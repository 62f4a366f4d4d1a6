"""Ordered alloys as a search space, and how stable they are: formation energies by effective medium theory.

EMT: K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996), as ASE has it. It is a crude potential: good
to try a search on in seconds, not to design a metal with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

METALS = {"Al": 4.0, "Ni": 3.5, "Cu": 3.6, "Pd": 3.9, "Ag": 4.1, "Pt": 3.9, "Au": 4.1}
"""Those that EMT knows, and where to look for their fcc lattice constant, in Å."""
BASIS = np.array([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (2, 0, 0), (2, 1, 1), (3, 0, 1), (3, 1, 0)]) / 2
"""The eight sites of two fcc cubes side by side, in lattice constants."""
CELL = np.array([2, 1, 1])
PAIRS = list(combinations_with_replacement(METALS, 2))
FORCE_EV_ANGSTROM, STEPS = 0.02, 200


@cache
def orderings(elements: tuple[str, ...] = ("Cu", "Pd", "Pt", "Au")) -> tuple[str, ...]:
    """Every way of putting the elements on the eight sites, such as "Au Cu Cu Cu Au Cu Cu Cu", each once: those that a
    shift of the lattice turns into each other are one, written as the first in alphabetical order.

    Raises:
        ValueError: an element that EMT does not know, one twice, or none.
    """
    elements = tuple(elements)
    if not elements or len(set(elements)) < len(elements) or not set(elements) <= set(METALS):
        raise ValueError(f"elements are some of {', '.join(METALS)}, each once; got {', '.join(elements) or 'none'}")
    return tuple(sorted({_canonical(sites) for sites in product(sorted(elements), repeat=len(BASIS))}))


def written(text: str) -> str:
    """An ordering as the space writes it. ValueError if it is none."""
    sites = tuple(text.replace(",", " ").split())
    if len(sites) != len(BASIS) or not set(sites) <= set(METALS):
        raise ValueError(f"an ordering is {len(BASIS)} of {', '.join(METALS)}, one for each site; got {text!r}")
    return _canonical(sites)


def formation_energy(ordering: str) -> dict[str, Any]:
    """Energy in eV per atom against the pure metals, at the lattice constant where it is lowest, atoms relaxed there.

    Returns "value", "lattice_angstrom" and "flag": "left its lattice" if an atom moved by more than a quarter of the
    distance between neighbours. Raises RuntimeError if the relaxation does not end in 200 steps.
    """
    from ase.optimize import BFGS

    symbols = ordering.split()
    constant = _lowest(tuple(symbols))
    atoms = _atoms(symbols, constant)
    search = BFGS(atoms, logfile=None)
    if not search.run(fmax=FORCE_EV_ANGSTROM, steps=STEPS):
        raise RuntimeError(f"not relaxed after {STEPS} steps")
    moved = np.linalg.norm(atoms.get_positions() - constant * BASIS, axis=1).max()
    flag = "left its lattice" if moved > 0.25 * constant / np.sqrt(2) else None
    return {"value": _against_pure(symbols, atoms), "flag": flag, "lattice_angstrom": constant}


def quick_formation_energy(ordering: str) -> dict[str, Any]:
    """As `formation_energy`, at the mean of the pure metals' lattice constants (Vegard 1921): the cheap fidelity."""
    symbols = ordering.split()
    constant = float(np.mean([_lowest((symbol,) * len(BASIS)) for symbol in symbols]))
    return {"value": _against_pure(symbols, _atoms(symbols, constant))}


def ordering_features(orderings: Sequence[str]) -> np.ndarray:
    """(n, 63): shares of the seven metals, and of the 28 pairs of metals among first and among second neighbours."""
    rows = np.zeros((len(orderings), len(METALS) + 2 * len(PAIRS)), dtype=np.float32)
    place = {pair: number for number, pair in enumerate(PAIRS)}
    order = {metal: number for number, metal in enumerate(METALS)}
    shells = _shells()
    for row, ordering in zip(rows, orderings, strict=True):
        symbols = ordering.split()
        for symbol in symbols:
            row[order[symbol]] += 1 / len(symbols)
        for shell, bonds in enumerate(shells):
            for one, other in bonds:
                pair = tuple(sorted((symbols[one], symbols[other]), key=order.get))
                row[len(METALS) + shell * len(PAIRS) + place[pair]] += 1 / len(bonds)
    return rows


def _atoms(symbols: Sequence[str], constant: float) -> Any:
    from ase import Atoms
    from ase.calculators.emt import EMT

    atoms = Atoms(symbols, constant * BASIS, cell=constant * CELL, pbc=True)
    atoms.calc = EMT()
    return atoms


@cache
def _lowest(symbols: tuple[str, ...]) -> float:
    """The lattice constant of lowest energy, atoms on their sites, in Å."""
    from scipy.optimize import minimize_scalar

    guess = sum(METALS[symbol] for symbol in symbols) / len(symbols)
    found = minimize_scalar(
        lambda constant: _atoms(symbols, constant).get_potential_energy(), method="bounded",
        bounds=(0.9 * guess, 1.1 * guess), options={"xatol": 1e-5},
    )  # fmt: skip
    return float(found.x)


@cache
def _pure(symbol: str) -> float:
    """Energy of an atom of a pure metal, in eV."""
    sites = (symbol,) * len(BASIS)
    return float(_atoms(sites, _lowest(sites)).get_potential_energy()) / len(sites)


def _against_pure(symbols: Sequence[str], atoms: Any) -> float:
    return float(atoms.get_potential_energy() - sum(map(_pure, symbols))) / len(symbols)


@cache
def _shifts() -> list[list[int]]:
    """Where each site goes under the shifts of the lattice that keep the cell."""
    found = []
    for shift in BASIS:
        moved = (BASIS + shift) % CELL
        found.append([int(np.flatnonzero(np.abs(BASIS - site).sum(1) < 1e-9)[0]) for site in moved])
    return found


def _canonical(sites: Sequence[str]) -> str:
    return min(" ".join(sites[place] for place in shift) for shift in _shifts())


@cache
def _shells() -> list[list[tuple[int, int]]]:
    """First and second neighbours, as pairs of sites, each bond once from each end."""
    images = [np.array(image) * CELL for image in product((-1, 0, 1), repeat=3)]
    shells: list[list[tuple[int, int]]] = [[], []]
    for one, other in product(range(len(BASIS)), repeat=2):
        for image in images:
            apart = float(((BASIS[other] + image - BASIS[one]) ** 2).sum())
            for shell, square in enumerate((0.5, 1.0)):
                if abs(apart - square) < 1e-9:
                    shells[shell].append((one, other))
    return shells
