"""Who does what: KAISA's grid of ranks, and each layer's place in it. Pure, so that every rank finds the same.

J. G. Pauloski et al., "KAISA: An Adaptive Second-Order Optimizer Framework for Deep Neural Networks", SC21:
p ranks, g = f·p gradient workers per layer, in a g × (p/g) grid. A column holds the gradient workers of its layers;
one of them decomposes the layer's factors and shares the result along the column; each then preconditions the
gradient and sends it along its row. f = 1 is COMM-OPT, 1/p MEM-OPT, between them HYBRID-OPT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .layers import Shape

CALL_MS, CUBE_MS = 0.05, 9e-8
"""Milliseconds of an eigendecomposition of size n: CALL_MS + CUBE_MS · n³, fitted to measurements at n = 64 to 1024
(0.17, 0.72, 3.3, 15.5, 84 ms; float32, one thread): small ones cost a call, not n³."""


@dataclass(frozen=True)
class Placement:
    """`owners[layer]` is the rank that averages and decomposes that layer's factors."""

    ranks: int
    workers: int
    owners: Mapping[str, int]

    @property
    def columns(self) -> int:
        """Columns of the grid; rank r stands in row r // columns, column r % columns."""
        return self.ranks // self.workers

    def column(self, rank: int) -> list[int]:
        """Ranks that hold the same decompositions as `rank`: a gradient worker group."""
        return list(range(rank % self.columns, self.ranks, self.columns))

    def row(self, rank: int) -> list[int]:
        """Ranks that send each other preconditioned gradients: `rank`'s receiver group."""
        begin = rank - rank % self.columns
        return list(range(begin, begin + self.columns))

    def owned(self, rank: int) -> list[str]:
        """Layers that `rank` averages and decomposes."""
        return [name for name, owner in self.owners.items() if owner == rank]

    def preconditions(self, rank: int) -> list[str]:
        """Layers whose decompositions `rank` holds: those owned in its column."""
        return [name for name, owner in self.owners.items() if owner % self.columns == rank % self.columns]


def eigh_ms(size: int) -> float:
    """Estimated milliseconds of an eigendecomposition of a (size, size) matrix on one CPU thread."""
    return CALL_MS + CUBE_MS * size**3


def cost(shape: Shape) -> float:
    """Estimated milliseconds to decompose a layer's factors."""
    return shape.blocks * ((0.0 if shape.diagonal else eigh_ms(shape.inputs)) + eigh_ms(shape.outputs))


def gradient_workers(ranks: int, fraction: float) -> int:
    """G = fraction · ranks as a whole number that divides `ranks`; ValueError otherwise."""
    allowed = [count for count in range(1, ranks + 1) if ranks % count == 0]
    if isinstance(fraction, int | float):
        for count in allowed:
            if abs(fraction * ranks - count) < 1e-6:  # 2/98 · 98 is not 2 in floating point
                return count
    words = ", ".join(f"{count}/{ranks}" if count < ranks else "1" for count in allowed)
    raise ValueError(
        f"gradient_worker_fraction is {fraction!r}; with {ranks} rank{'s' * (ranks != 1)} it must be one of {words}: "
        "a whole number of gradient workers that divides the ranks"
    )


def place(costs: Mapping[str, float], ranks: int, fraction: float) -> Placement:
    """Longest processing time first: by falling cost, each layer to the least loaded column, there to the least loaded
    rank; ties to the lowest number.
    """
    workers = gradient_workers(ranks, fraction)
    empty = Placement(ranks, workers, {})
    load = [0.0] * ranks
    owners = {}
    for name in sorted(costs, key=lambda name: -costs[name]):  # stable: layers of one cost keep the model's order
        column = min(range(empty.columns), key=lambda c: (sum(load[r] for r in empty.column(c)), c))
        owners[name] = min(empty.column(column), key=lambda rank: (load[rank], rank))
        load[owners[name]] += costs[name]
    return Placement(ranks, workers, {name: owners[name] for name in costs})
