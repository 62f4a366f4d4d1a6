"""How much less an update counts that was trained from an old version of the model.

Staleness is counted in versions, not in time: those that were made between the sending of a version to a device and
the arrival of what the device made of it; 0 if there were none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Constant:
    """Every update counts fully, however old."""

    def __call__(self, staleness: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Polynomial:
    """(1 + τ)^-a. Source: C. Xie et al., "Asynchronous federated optimization", 2019, section 5.2; FedBuff has a = 1/2
    (J. Nguyen et al., AISTATS 2022, section 5).
    """

    a: float = 0.5

    def __post_init__(self) -> None:
        _not_negative("a", self.a)

    def __call__(self, staleness: int) -> float:
        return (1.0 + staleness) ** -self.a


@dataclass(frozen=True)
class Hinge:
    """1 up to b versions, then 1 / (a (τ - b) + 1). Source: C. Xie et al., 2019, section 5.2."""

    a: float = 10.0
    b: float = 4.0

    def __post_init__(self) -> None:
        _not_negative("a", self.a)
        _not_negative("b", self.b)

    def __call__(self, staleness: int) -> float:
        return 1.0 if staleness <= self.b else 1.0 / (self.a * (staleness - self.b) + 1.0)


Staleness = Constant | Polynomial | Hinge
constant, polynomial, hinge = Constant, Polynomial, Hinge
STALENESS: dict[str, type] = {"constant": Constant, "polynomial": Polynomial, "hinge": Hinge}
"""By the names that settings take."""


def as_staleness(given: Any) -> Staleness:
    """From one of the above, its name, or plain values such as `{"name": "polynomial", "a": 0.5}`."""
    values = {"name": given} if isinstance(given, str) else given
    if isinstance(values, Mapping):
        kind = STALENESS.get(values.get("name"))
        if kind is None:
            raise ValueError(f"there is no staleness {values.get('name')!r}; take {', '.join(STALENESS)}")
        try:
            return kind(**{name: value for name, value in values.items() if name != "name"})
        except TypeError:
            fields = ", ".join(kind.__dataclass_fields__) or "no numbers"
            raise ValueError(f"staleness {values['name']!r} takes {fields}, got {dict(values)}") from None
    if not isinstance(given, Staleness):
        raise ValueError(f"staleness must be {', '.join(STALENESS)} or made by one of them, got {given!r}")
    return given


def plain(staleness: Staleness) -> dict[str, Any]:
    """Plain JSON that `as_staleness` takes."""
    name = next(name for name, kind in STALENESS.items() if type(staleness) is kind)
    return {"name": name, **asdict(staleness)}


def _not_negative(name: str, value: Any) -> None:
    if not (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number from 0, got {value!r}")
