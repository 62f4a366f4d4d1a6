"""Acquisitions: what a prediction is worth. The candidate with the highest score is simulated next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, pi, sqrt

import numpy as np
from scipy.special import erf


def _random(mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random(len(mean))


def _greedy(mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator) -> np.ndarray:
    return mean


def _ucb(mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator) -> np.ndarray:
    return mean + weight * std


def _expected_improvement(
    mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator
) -> np.ndarray:
    gain = mean - best - weight
    safe = np.where(std > 0, std, 1.0)
    z = gain / safe
    expected = gain * 0.5 * (1 + erf(z / sqrt(2))) + safe * np.exp(-0.5 * z**2) / sqrt(2 * pi)
    return np.where(std > 0, expected, np.maximum(gain, 0.0))


def _thompson(mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator) -> np.ndarray:
    return mean + weight * std * rng.standard_normal(len(mean))


def _uncertainty(mean: np.ndarray, std: np.ndarray, best: float, weight: float, rng: np.random.Generator) -> np.ndarray:
    return std


SCORES: dict[str, Callable[..., np.ndarray]] = {
    "random": _random,
    "greedy": _greedy,
    "ucb": _ucb,
    "expected improvement": _expected_improvement,
    "thompson": _thompson,
    "uncertainty": _uncertainty,
}


@dataclass(frozen=True)
class Acquisition:
    """A score by its name and weight; call it with predictions to get scores (n,), the higher the better.

    `mean`, `std` (n,) are of what is to be maximised, `best` the best value so far. Make one with `ucb(2.0)` and
    the like. Raises ValueError for an unknown name or a weight that is not a finite number, 0 or more.
    """

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in SCORES:
            raise ValueError(f"there is no acquisition {self.name!r}; there are {', '.join(SCORES)}")
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not (number and isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"the weight of {self.name} is {self.weight!r}; give a finite number, 0 or more")

    def __call__(self, mean: np.ndarray, std: np.ndarray, best: float, rng: np.random.Generator) -> np.ndarray:
        return SCORES[self.name](mean.astype(float), std.astype(float), best, self.weight, rng)


def random() -> Acquisition:
    """Any candidate as good as any other: what a search without a model does."""
    return Acquisition("random")


def greedy() -> Acquisition:
    """The predicted value itself."""
    return Acquisition("greedy")


def ucb(weight: float = 1.0) -> Acquisition:
    """Upper confidence bound, mean + weight × std (Srinivas et al. 2010, eq. 6)."""
    return Acquisition("ucb", weight)


def expected_improvement(margin: float = 0.0) -> Acquisition:
    """E[max(0, value − best − margin)] of a normal prediction (Jones et al. 1998, eq. 15); in the value's unit."""
    return Acquisition("expected improvement", margin)


def thompson(weight: float = 1.0) -> Acquisition:
    """A draw from each candidate's own normal prediction, its std times `weight` (Thompson 1933; not a joint draw)."""
    return Acquisition("thompson", weight)


def uncertainty() -> Acquisition:
    """The std itself: what the model knows least of, to make a better model rather than to find the best."""
    return Acquisition("uncertainty")
