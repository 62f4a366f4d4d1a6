"""When a new version of the model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import State


@dataclass(frozen=True)
class Every:
    """After every `n` new results."""

    n: int = 25

    def __post_init__(self) -> None:
        _from_one("n", self.n)

    def due(self, state: State) -> bool:
        return state.results - state.trained_on >= self.n


@dataclass(frozen=True)
class OnDrift:
    """When the last `window` results lie further from what the present model said of them than it expected: the root
    mean square of (value − mean) / std exceeds `factor`, where a calibrated model has 1.
    """

    factor: float = 2.0
    window: int = 10

    def __post_init__(self) -> None:
        _from_one("window", self.window)
        if not self.factor > 0:
            raise ValueError(f"factor is {self.factor!r}; give a number above 0 (a calibrated model has 1)")

    def due(self, state: State) -> bool:
        surprises = state.surprises[-self.window :]
        return len(surprises) == self.window and sum(z * z for z in surprises) > self.window * self.factor**2


@dataclass(frozen=True)
class Never:
    """Only once, on the first results; `untrained`: not even then (the unguided arm)."""

    untrained: bool = False

    def due(self, state: State) -> bool:
        return False


def every(n: int = 25) -> Every:
    """Train again after every `n` new results."""
    return Every(n)


def on_drift(factor: float = 2.0, window: int = 10) -> OnDrift:
    """Train again when the model is surprised: see `OnDrift`."""
    return OnDrift(factor, window)


def never(untrained: bool = False) -> Never:
    """Train once only, or with `untrained` not at all."""
    return Never(untrained)


def _from_one(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number from 1")
