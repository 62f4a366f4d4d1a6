"""Things in lots of about the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_lots(items: Iterable[Item], least: int, size: Callable[[Item], int] = len) -> Iterator[list[Item]]:
    """Lists of consecutive items, each as short as a total of `least` allows; the last may be smaller."""
    lot, total = [], 0
    for item in items:
        lot.append(item)
        total += size(item)
        if total >= least:
            yield lot
            lot, total = [], 0
    if lot:
        yield lot
