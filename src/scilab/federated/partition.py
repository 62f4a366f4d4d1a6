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


@dataclass(frozen=True)
class Shards:
    """Rows sorted by class, cut into `per_device` shards a device, shards dealt at random: few classes on each device.

    Source: H. B. McMahan et al., AISTATS 2017, section 3 ("pathological non-IID", two shards a device).
    """

    per_device: int = 2

    def __post_init__(self) -> None:
        _whole("per_device", self.per_device)

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> list[np.ndarray]:
        _enough(len(labels), devices * self.per_device, "shards")
        rng, rows = np.random.default_rng(seed), np.argsort(labels, kind="stable")
        cut, dealt = np.array_split(rows, devices * self.per_device), rng.permutation(devices * self.per_device)
        return [np.sort(np.concatenate([cut[i] for i in own])) for own in dealt.reshape(devices, self.per_device)]


@dataclass(frozen=True, eq=False)
class ByKey:
    """Rows of the same key (a hospital, a writer, a camera) stay together: the i-th device has the i-th key, sorted.

    `keys` names each row's key (n,). There must be as many different keys as devices.
    """

    keys: Sequence

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> list[np.ndarray]:
        keys = np.asarray(self.keys)
        if keys.shape != (len(labels),):
            raise ValueError(f"by_key needs one key for each of {len(labels)} rows, got shape {keys.shape}")
        found, place = np.unique(keys, return_inverse=True)
        if len(found) != devices:
            raise ValueError(f"there are {len(found)} keys and {devices} devices; take {len(found)} devices")
        return np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])

    def __repr__(self) -> str:
        return "by_key"


@dataclass(frozen=True, eq=False)
class Given:
    """Exactly these row numbers, one sequence per device; they need not be disjoint."""

    parts: Sequence[Sequence[int]]

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> list[np.ndarray]:
        return [np.asarray(part, dtype=np.int64) for part in self.parts]

    def __repr__(self) -> str:
        return f"indices of {len(self.parts)} devices"


@dataclass(frozen=True)
class Resample:
    """`rows` rows for each device, drawn with replacement: as many devices as you like, for studies of scale."""

    rows: int

    def __post_init__(self) -> None:
        _whole("rows", self.rows)

    def __call__(self, labels: np.ndarray, devices: int, seed: int) -> np.ndarray:
        """One line of row numbers a device: a million devices are one array."""
        return np.random.default_rng(seed).integers(len(labels), size=(devices, self.rows))


iid, dirichlet, shards, by_key, indices, resample = IID, Dirichlet, Shards, ByKey, Given, Resample


def _whole(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")


def _enough(rows: int, parts: int, what: str = "devices") -> None:
    if parts > rows:
        raise ValueError(
            f"{rows} rows cannot be dealt to {parts} {what} without leaving some empty; "
            f"take at most {rows} {what}, more data, or resample(k)"
        )
