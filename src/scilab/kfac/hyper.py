"""Hyper-parameters of K-FAC: numbers or callables of the step, checked when they are given and when they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Hyper = float | Callable[[int], float]
LIMITS = {
    "damping": (0.0, math.inf, "a positive number; 0.003 suits most networks at a mean loss"),
    "factors_every": (1, math.inf, "a whole number of steps from 1"),
    "decompose_every": (1, math.inf, "a whole number of steps from 1"),
    "decay": (0.0, 1.0, "at least 0 and below 1; 0.95 is usual"),
    "kl_clip": (0.0, math.inf, "a positive number, or None for no clipping; 0.001 is usual"),
    "lr": (0.0, math.inf, "the optimizer's learning rate"),
}


class HyperParameters:
    """Those of `LIMITS`. A callable must return the same on all ranks: it decides what is due."""

    def __init__(self, **given: Hyper | None) -> None:
        self._given: dict[str, Any] = {"kl_clip": None, "lr": None}
        self.set(**given)

    def set(self, **changes: Hyper | None) -> None:
        """Change some; ValueError says what is allowed, and then nothing has changed."""
        for name, value in changes.items():
            if name not in LIMITS:
                raise ValueError(f"K-FAC has no hyper-parameter {name!r}; it has {', '.join(LIMITS)}")
            if not callable(value) and not (value is None and name in ("kl_clip", "lr")):
                _checked(name, value)
        merged = {**self._given, **changes}
        if merged["kl_clip"] is not None and merged["lr"] is None:
            raise ValueError("kl_clip bounds a step, so it needs to know lr: a number, or a callable of the step")
        self._given = merged

    def at(self, name: str, step: int) -> float | None:
        """One of them at `step`."""
        given = self._given[name]
        return _checked(name, given(step)) if callable(given) else given

    def due(self, interval: str, step: int) -> bool:
        """Whether `step` is one of "factors_every" or "decompose_every"."""
        return step % int(self.at(interval, step)) == 0

    def state_dict(self) -> dict[str, float | None]:
        """Those that are plain numbers."""
        return {name: value for name, value in self._given.items() if not callable(value)}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Take plain numbers; callables stay those given here."""
        plain = {name: value for name, value in state.items() if not callable(self._given[name])}
        self._given = {**self._given, **plain}


def _checked(name: str, value: Any) -> float:
    low, high, allowed = LIMITS[name]
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high
    if good and name.endswith("_every"):
        good = value == int(value)
    if not good or (value == 0 and name in ("damping", "kl_clip")):
        raise ValueError(f"{name} must be {allowed}; got {value!r}")
    return value
