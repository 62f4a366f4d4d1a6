"""Distorted water clusters: a potential of energies and forces, fine-tuned where it knows least.

The second workflow of L. Ward et al., "Cloud Services Enable Efficient AI-Guided Simulation Workflows across
Heterogeneous Resources" (2023), in small: a model learned from a cheap theory is corrected by few calculations of a
better one, those that a committee disagrees on most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from .ionization import BOHR_ANGSTROM, HARTREE_EV, _one_thread

O_H, H_O_H = 0.9572, np.deg2rad(104.52)  # Å and angle of a free molecule (Benedict, Gailar, Plyler 1956)
H_H = 2 * O_H * float(np.sin(H_O_H / 2))
CENTRES, WIDTH = np.linspace(1.4, 6.2, 13), 0.4
KINDS = ((8, 8), (1, 8), (1, 1))
WITHIN = 9
DIMENSIONS = WITHIN + len(KINDS) * len(CENTRES)
CHEAP, BETTER = "GFN1-xTB", "GFN2-xTB"
ENERGY_EV, FORCE_EV_ANGSTROM = 0.005, 0.05
"""How far the model may be off, an atom's energy and a component of a force: their weights in a fit."""


def water_clusters(molecules: int = 3, count: int = 400) -> tuple[str, ...]:
    """Names of `count` clusters, "water3-0000" and so on; `geometry` says what they are.

    Raises:
        ValueError: fewer than 2 or more than 6 molecules, or no cluster at all.
    """
    if not 2 <= molecules <= 6 or count < 1:
        raise ValueError(f"clusters have 2 to 6 molecules, and there is one at least; got {molecules} and {count}")
    return tuple(f"water{molecules}-{number:04d}" for number in range(count))


def written(text: str) -> str:
    """A cluster's name. ValueError if it is none."""
    geometry(text.strip())
    return text.strip()


@lru_cache(maxsize=4096)
def geometry(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(atomic numbers (3n,), positions (3n, 3) in Å): molecules turned at random, oxygens 2.6 to 3.4 Å from another's,
    no two atoms of different molecules nearer than 1.6 Å, and every atom then moved by some 0.05 Å.

    Raises:
        ValueError: not a name of `water_clusters`.
    """
    head, _, tail = name.partition("-")
    size = head.removeprefix("water")
    if not (head.startswith("water") and size.isdigit() and tail.isdigit() and 2 <= int(size) <= 6):
        raise ValueError(f"{name!r} is no cluster; they are called water3-0017, of 2 to 6 molecules")
    draw = np.random.default_rng([int(size), int(tail)])
    half = H_O_H / 2
    free = O_H * np.array([(0, 0, 0), (np.sin(half), np.cos(half), 0), (-np.sin(half), np.cos(half), 0)])
    placed = np.zeros((0, 3))
    while len(placed) < 3 * int(size):
        turn, _ = np.linalg.qr(draw.standard_normal((3, 3)))
        ray = draw.standard_normal(3)
        at = np.zeros(3)
        if len(placed):
            at = placed[3 * draw.integers(len(placed) // 3)] + draw.uniform(2.6, 3.4) * ray / np.linalg.norm(ray)
        new = free @ turn.T + at
        apart = np.linalg.norm(new[:, None] - placed[None], axis=2)
        if not len(placed) or (apart.min() > 1.6 and apart[0, ::3].min() > 2.5):
            placed = np.vstack([placed, new])
    return np.array([8, 1, 1] * int(size)), placed + 0.05 * draw.standard_normal(placed.shape)


def energy_and_forces(name: str, method: str = BETTER) -> dict[str, Any]:
    """"value": energy in eV per molecule against free molecules; "forces": 9n numbers in eV/Å, atom by atom."""
    numbers, positions = geometry(name)
    with _one_thread():
        energy, forces = _computed(numbers, positions, method)
    molecules = len(numbers) // 3
    return {"value": energy / molecules - _free(method), "forces": forces.ravel().tolist()}


def cheap_energy_and_forces(name: str) -> dict[str, Any]:
    """As `energy_and_forces`, by GFN1-xTB: what the model is made of to begin with."""
    return energy_and_forces(name, CHEAP)


def pair_features(names: Sequence[str]) -> np.ndarray:
    """(n, 48 × (1 + 9m)) for clusters of m molecules: of each molecule polynomials of its two bonds and of the distance
    of its hydrogens, of pairs of atoms of different molecules Gaussians of their distance (O–O, O–H, H–H), summed, per
    molecule; then minus their derivatives by each coordinate (not per molecule). Both are linear in these.
    """
    return np.stack([_pairs(name) for name in names])


@dataclass(frozen=True)
class Potential:
    """A potential as a surrogate, linear in `pair_features`, fitted to energies and forces at once by ridge
    regression about what `pretrained` says;
    a committee of `members` on bootstrap samples.

    Its mean is the energy; its std how far the members' forces disagree, as the root mean square over all components,
    in eV/Å: acquire by `uncertainty()`.
    """

    members: int = 8
    ridge: float = 1e-3
    prior: bool = True
    """Whether it begins with the cheap theory's potentials, or with none."""
    wants: str = "forces"

    features = staticmethod(pair_features)

    def fit(self, features: np.ndarray, values: np.ndarray, seed: int, forces: Sequence) -> FittedPotential:
        draw, count = np.random.default_rng(seed), len(values)
        coordinates = features.shape[1] // DIMENSIONS - 1
        start = pretrained(coordinates // 9) if self.prior else np.zeros(DIMENSIONS)
        x = features.reshape(count, 1 + coordinates, DIMENSIONS)
        y = np.concatenate([np.asarray(values)[:, None], np.asarray(forces, dtype=float)], axis=1)
        samples = [np.arange(count), *(draw.integers(count, size=count) for _ in range(self.members - 1))]
        return FittedPotential(np.stack([_ridge(x[rows], y[rows], start, self.ridge) for rows in samples]))


@dataclass(frozen=True, eq=False)
class FittedPotential:
    """Coefficients (members, 48) of potentials that have been fitted; the first learned from every example."""

    coefficients: np.ndarray

    def energies_and_forces(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) in eV per molecule and (n, 9m) in eV/Å, of the first."""
        x = features.reshape(len(features), -1, DIMENSIONS)
        found = x @ self.coefficients[0]
        return found[:, 0], found[:, 1:]

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = features.reshape(len(features), -1, DIMENSIONS)
        forces = x[:, 1:] @ self.coefficients.T
        return x[:, 0] @ self.coefficients[0], np.sqrt(forces.var(2).mean(1))


@cache
def pretrained(molecules: int, examples: int = 60) -> np.ndarray:
    """Coefficients (48,) fitted to the cheap theory, on clusters that are in no space: their numbers begin at 10⁶."""
    names = [f"water{molecules}-{10**6 + number}" for number in range(examples)]
    found = [cheap_energy_and_forces(name) for name in names]
    y = np.array([[each["value"], *each["forces"]] for each in found])
    x = pair_features(names).reshape(examples, -1, DIMENSIONS)
    return _ridge(x, y, np.zeros(DIMENSIONS), 1e-6)


def errors(model: FittedPotential, names: Sequence[str]) -> tuple[float, float]:
    """Root mean square errors against the better theory: energies in eV per molecule, forces in eV/Å."""
    energies, forces = model.energies_and_forces(pair_features(names))
    truth = [energy_and_forces(name) for name in names]
    apart = energies - np.array([each["value"] for each in truth])
    pulled = forces - np.array([each["forces"] for each in truth])
    return float(np.sqrt((apart**2).mean())), float(np.sqrt((pulled**2).mean()))


def _ridge(x: np.ndarray, y: np.ndarray, start: np.ndarray, ridge: float) -> np.ndarray:
    """Min over c of Σ ((y − x c) / tolerance)² / rows + ridge |c − start|²."""
    weights = np.full(y.shape, 1 / FORCE_EV_ANGSTROM)
    weights[:, 0] = 1 / ENERGY_EV
    a = (x * weights[..., None]).reshape(-1, DIMENSIONS)
    b = ((y - x @ start) * weights).ravel()
    return start + np.linalg.solve(a.T @ a / len(a) + ridge * np.eye(DIMENSIONS), a.T @ b / len(a))


@lru_cache(maxsize=4096)
def _pairs(name: str) -> np.ndarray:
    numbers, positions = geometry(name)
    molecules = len(numbers) // 3
    rows = np.zeros((1 + 3 * len(numbers), DIMENSIONS))

    def distance(one: int, other: int) -> tuple[float, np.ndarray]:
        apart = positions[one] - positions[other]
        return float(np.linalg.norm(apart)), apart / np.linalg.norm(apart)

    def add(place: slice, value: np.ndarray | None, slope: np.ndarray, one: int, other: int, unit: np.ndarray) -> None:
        """Features that depend on the distance of two atoms, and their derivatives by it."""
        if value is not None:
            rows[0, place] += value / molecules
        rows[1 + 3 * one : 4 + 3 * one, place] -= np.outer(unit, slope)
        rows[1 + 3 * other : 4 + 3 * other, place] += np.outer(unit, slope)

    within = slice(0, WITHIN)
    for oxygen in range(0, len(numbers), 3):
        (a, to_a), (b, to_b) = distance(oxygen + 1, oxygen), distance(oxygen + 2, oxygen)
        c, to_c = distance(oxygen + 1, oxygen + 2)
        a, b, c = a - O_H, b - O_H, c - H_H
        value = np.array([a + b, a**2 + b**2, a**3 + b**3, a**4 + b**4, c, c**2, c**3, a * b, (a + b) * c])
        add(within, value, np.array([1, 2 * a, 3 * a**2, 4 * a**3, 0, 0, 0, b, c]), oxygen + 1, oxygen, to_a)
        add(within, None, np.array([1, 2 * b, 3 * b**2, 4 * b**3, 0, 0, 0, a, c]), oxygen + 2, oxygen, to_b)
        add(within, None, np.array([0, 0, 0, 0, 1, 2 * c, 3 * c**2, 0, a + b]), oxygen + 1, oxygen + 2, to_c)
    for one in range(len(numbers)):
        for other in range(one - one % 3):
            kind = KINDS.index(tuple(sorted((int(numbers[one]), int(numbers[other])))))
            place = slice(WITHIN + kind * len(CENTRES), WITHIN + (kind + 1) * len(CENTRES))
            r, unit = distance(one, other)
            value = np.exp(-0.5 * ((r - CENTRES) / WIDTH) ** 2)
            add(place, value, -value * (r - CENTRES) / WIDTH**2, one, other, unit)
    return rows.ravel()


def _computed(numbers: np.ndarray, positions: np.ndarray, method: str) -> tuple[float, np.ndarray]:
    from tblite.interface import Calculator

    calculator = Calculator(method, numbers, positions / BOHR_ANGSTROM)
    calculator.set("verbosity", 0)
    found = calculator.singlepoint()
    return float(found.get("energy")) * HARTREE_EV, -np.asarray(found.get("gradient")) * HARTREE_EV / BOHR_ANGSTROM


@cache
def _free(method: str) -> float:
    half = H_O_H / 2
    positions = O_H * np.array([(0, 0, 0), (np.sin(half), np.cos(half), 0), (-np.sin(half), np.cos(half), 0)])
    return _computed(np.array([8, 1, 1]), positions, method)[0]
