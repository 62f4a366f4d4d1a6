"""Weighted means over a tree that come out the same, bit for bit, for every tree and every order of arrival.

A node passes up Σ nᵢxᵢ and Σ nᵢ; the root divides once. The sums are kept in fixed point: every product nᵢxᵢ is rounded
to a multiple of one quantum per tensor, and multiples are added as 64-bit integers, which is exact, hence independent of
order and grouping. The quantum is the smallest power of two with which the sum over all devices of the round cannot
overflow; it follows from the round's model and its total number of samples, not from what arrives. With m devices the
mean is off by at most m · 2^(bound - 63), about 10^-12 for 16 devices of parameters below 1: far under float32.

Buffers: floating ones (running means and variances) are averaged like parameters; of integers (num_batches_tracked) the
largest is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..planes import Address, Key, get, put
from .versions import Version

Child = tuple[Key, int, bool]
"""What a child left: its key, its number of samples, and whether it is a partial sum (of an aggregator)."""


class WeightedSum:
    """Σ nᵢxᵢ over updates of one version, for at most `capacity` samples in all."""

    def __init__(self, version: Version, capacity: int) -> None:
        shift = (capacity - 1).bit_length() - 62
        self.sizes = [list(sizes) for sizes in version.sizes]
        self.quanta = [[2.0 ** (bound + shift) for bound in bounds] for bounds in version.bounds]
        self.like = version.flats
        self.sums: list[torch.Tensor | None] = [
            torch.zeros(flat.numel(), dtype=torch.int64) if flat.is_floating_point() else None for flat in version.flats
        ]

    def add(self, flats: Sequence[torch.Tensor], samples: int) -> None:
        """Count in one device's update."""
        for group, flat in enumerate(flats):
            if not flat.is_floating_point():
                self._largest(group, flat)
                continue
            sizes = self.sizes[group]
            parts = zip(self.sums[group].split(sizes), flat.split(sizes), self.quanta[group], strict=True)
            for total, part, quantum in parts:
                # one tensor at a time: what is temporary stays small beside the sum
                total.add_(part.double().mul_(samples / quantum).round_().long())

    def merge(self, sums: Sequence[torch.Tensor]) -> None:
        """Count in the sums of another node."""
        for group, part in enumerate(sums):
            if self.like[group].is_floating_point():
                self.sums[group].add_(part)
            else:
                self._largest(group, part)

    def mean(self, samples: int) -> list[torch.Tensor]:
        """The one division; each result in the type of the model's tensors."""
        means = []
        for group, like in enumerate(self.like):
            if not like.is_floating_point():
                means.append(self.sums[group])
                continue
            mean = torch.empty_like(like)
            sizes = self.sizes[group]
            for out, total, quantum in zip(
                mean.split(sizes), self.sums[group].split(sizes), self.quanta[group], strict=True
            ):
                out.copy_(total.double().mul_(quantum).div_(samples))
            means.append(mean)
        return means

    def _largest(self, group: int, values: torch.Tensor) -> None:
        before = self.sums[group]
        self.sums[group] = values if before is None else torch.maximum(before, values)


def _sum(version: Version, capacity: int, children: Sequence[Child]) -> WeightedSum:
    total = WeightedSum(version, capacity)
    for key, samples, partial in children:
        if partial:
            total.merge(get(key))
        else:
            total.add(get(key), samples)
    return total


def aggregate(version: Key, capacity: int, jobs: Sequence[tuple]) -> list[Key]:
    """Task: each job (children, address, down, up) is an aggregator that gets the model and puts its sums at `address`."""
    made = []
    for children, address, down, up in jobs:
        made.append(put(address, _sum(get(version, down), capacity, children).sums, up))
    return made


def finish(version: Key, capacity: int, children: Sequence[Child], address: Address) -> Key:
    """Task: the coordinator's own sum, divided: puts the next version at `address`."""
    before = get(version)
    flats = _sum(before, capacity, children).mean(sum(samples for _, samples, _ in children))
    return put(address, before.next(flats))
