"""What the fraction of gradient workers costs, before anything runs: KAISA's trade-off (Pauloski et al., SC21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .footprint import Storage, predict
from .layers import Shape

RANKS = (2, 4, 8, 16, 32, 64)


def tradeoff(
    shapes: Mapping[str, Shape], ranks: int, factors_every: float, decompose_every: float,
    storage: Storage | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """For each number of gradient workers, from MEM-OPT (1) to COMM-OPT (all ranks), what the rank that has it worst
    holds, and receives a step on average: [{"workers", "fraction", "held", "received"}], bytes.
    """
    storage, found = storage or Storage(), []
    reduced_every = factors_every if storage.factors == "owner" else decompose_every
    for workers in (count for count in range(1, ranks + 1) if ranks % count == 0):
        made = predict(shapes, ranks=ranks, gradient_worker_fraction=workers / ranks, storage=storage)
        received = [made.received_per_step(rank, reduced_every, decompose_every) for rank in range(ranks)]
        found.append({"workers": workers, "fraction": workers / ranks, "held": max(made.held),
                      "received": max(received)})  # fmt: skip
    return found


def tradeoffs(
    shapes: Mapping[str, Shape], ranks: int, factors_every: float, decompose_every: float,
    storage: Storage | None = None,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """`tradeoff` for so many ranks, and for those of `RANKS`."""
    return {str(count): tradeoff(shapes, count, factors_every, decompose_every, storage)
            for count in sorted({ranks, *RANKS})}  # fmt: skip
