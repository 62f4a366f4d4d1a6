"""What a campaign is given, checked, and told again as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any

from .commands import POOLS


def check_slots(slots: Mapping[str, int], learns: bool) -> None:
    """Raises ValueError if these are no slots of the two pools, or a pool that is needed has none."""
    if set(slots) != set(POOLS):
        raise ValueError(f"slots are given for the pools {' and '.join(POOLS)}, got {', '.join(map(str, slots))}")
    for pool, count in slots.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"the slots of {pool} must be a whole number, 0 or more, got {count!r}")
    if not slots["simulate"]:
        raise ValueError("simulate has no slots: nothing would ever run; give it 1 or more")
    if learns and not slots["learn"]:
        raise ValueError("learn has no slots, and a model is to be trained: give it 1, or never(untrained=True)")


def told(function: Any) -> str:
    """A function by its name, a partial one with what it was given."""
    if isinstance(function, partial):
        given = [*map(repr, function.args), *(f"{name}={value!r}" for name, value in function.keywords.items())]
        return f"{told(function.func)}({', '.join(given)})"
    return getattr(function, "__name__", repr(function))


def named(part: Any) -> dict[str, Any]:
    """A part by its class and plain settings."""
    if isinstance(part, type):
        return {"name": part.__name__}
    found = {"name": type(part).__name__}
    if is_dataclass(part):
        for name, value in vars(part).items():
            simple = value is None or isinstance(value, int | float | str)
            found[name] = value if simple else told(value)
    return found
