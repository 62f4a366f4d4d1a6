"""How the rows of a data set are dealt to devices. A partition is a callable (labels, devices, seed) → row numbers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Partition = Callable[[np.ndarray, int, int], Sequence[np.ndarray]]
"""Takes the labels (n,), the number of devices and a seed; returns one array of row numbers per device."""


@dataclass(frozen=True)
class IID:
    """Rows shuffled and dealt in equal shares (sizes differ by one row at most)."""

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> list[np.ndarray]:
        _enough(len(labels), devices)
        rows = np.random.default_rng(seed).permutation(len(labels))
        return [np.sort(part) for part in np.array_split(rows, devices)]


@dataclass(frozen=True)
class Dirichlet:
    """Each class dealt by shares drawn from Dirichlet(alpha): unequal labels and sizes, the more so the smaller alpha.

    Source: T.-M. H. Hsu, H. Qi, M. Brown, arXiv:1909.06335. A device left empty takes a row from the largest.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha must be a positive number, got {self.alpha}; 0.1 is very uneven, 100 nearly even")

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> list[np.ndarray]:
        _enough(len(labels), devices)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"dirichlet deals by class and needs whole-number labels (n,), got {labels.dtype}; use iid()"
            )
        rng = np.random.default_rng(seed)
        shards: list[list[int]] = [[] for _ in range(devices)]
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(devices, self.alpha))
            cuts = np.minimum(np.floor(np.cumsum(shares)[:-1] * len(rows)), len(rows)).astype(int)
            for shard, part in zip(shards, np.split(rows, cuts), strict=True):
                shard.extend(part.tolist())
        largest = [(-len(shard), device) for device, shard in enumerate(shards)]
        heapq.heapify(largest)
        for shard in (shard for shard in shards if not shard):
            size, device = heapq.heappop(largest)
            shard.append(shards[device].pop())
            heapq.heappush(largest, (size + 1, device))
        return [np.sort(np.array(shard)) for shard in shards]


iid, dirichlet = IID, Dirichlet


def _enough(rows: int, devices: int) -> None:
    if devices > rows:
        raise ValueError(
            f"{rows} rows cannot be dealt to {devices} devices without leaving some empty; "
            f"take at most {rows} devices or more data"
        )
