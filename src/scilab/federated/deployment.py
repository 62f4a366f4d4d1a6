"""What lies on the data plane for as long as a federation runs: the bare model, the devices' rows, the test rows."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..planes import Address, Key, Session, Store
from .buffers import Kept
from .streams import stream
from .topology import Topology
from .training import Skeleton
from .wires import Wires

CACHED_SHARDS, CACHED_BYTES, SHARED_BYTES = 48, 256 << 20, 64 << 20
"""Workers keep the rows they have read if there are no more shards and bytes than this; else they read them again.
Where devices have rows in common, each shard holds row numbers, and the data, up to so many bytes, go out once."""
TOLD_EACH = 512
"""Up to so many devices in a round, there is a record for each; beyond, one for siblings that trained together. Of more
devices than that, those of a cohort that are siblings leave the sum of their updates in their place."""


class Siblings(Sequence):
    """The ids of some workers, made when asked for; `numbers` are the workers' own, `places` those in the tree."""

    def __init__(self, topology: Topology, numbers: np.ndarray) -> None:
        self._ids, self.numbers, self.places = topology.ids, numbers, topology.leaves[numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> str:
        return self._ids[int(self.places[index])]


class Deployment:
    """Puts things on the data plane and knows every lease; all of them end with the `with` it is used in."""

    def __init__(
        self, session: Session, store: Store, wires: Wires, skeleton: Skeleton, seed: int, means: bool = False
    ) -> None:
        topology = wires.topology
        self.wires, self.means, self.simulated = wires, means, session.simulated
        self.began, self._origin = 0.0 if self.simulated else time.time(), time.monotonic()
        self.session, self.store, self.topology, self.seed = session, store, topology, seed
        self.strategy, self.cohort = skeleton.strategy, skeleton.cohort
        self.sums = self.cohort > 1 and len(topology.leaves) > TOLD_EACH
        self._held: dict[tuple, Key | Address] = {}
        self.sites = {node: profile.engine for node, profile in topology.profiles if profile.engine}
        self.skeleton, self.test, self.keep, self.samples = self.put(skeleton), None, False, 0
        self.parts: Sequence[Any] = ()
        self.shards: list[tuple[Key, list[str]]] = []
        self.kept = Kept(self) if skeleton.buffers == "keep" else None
        self.server: Key | None = None  # what the strategy's server keeps from round to round
        run = uuid.uuid4().hex
        self.edges = [((run, "down", tier), (run, "up", tier)) for tier in range(topology.height)]

    def ship(self, train: tuple, test: tuple | None, parts: Sequence[Any], per_task: int) -> None:
        """Put the test rows, and `shards`: the rows of up to `per_task` workers each, siblings together; or, of
        cohorts, whole ones.
        """
        topology, counts = self.topology, np.fromiter(map(len, parts), np.int64, len(parts))
        self.samples, self.parts = int(counts.sum()), parts
        self.test = None if test is None else self.put(test)
        shared = self.samples > len(train[1]) and train[0].nbytes + train[1].nbytes <= SHARED_BYTES
        data = self.put(train) if shared else None
        near = np.arange(len(parts))
        if self.cohort == 1:
            near = np.searchsorted(topology.leaves, topology.near[topology.kinds[topology.near] == 2])
        else:
            per_task = max(1, per_task // self.cohort) * self.cohort
        for numbers in self._chunks(near, per_task):
            self.session.next(timeout_s=0)  # nothing has been submitted: this only raises Stopped after a stop
            cuts = [0, *counts[numbers].cumsum().tolist()]
            every = torch.from_numpy(np.concatenate([parts[number] for number in numbers]))
            rows = (data, None, every) if shared else (train[0][every], train[1][every], None)
            self.shards.append((self.put((*rows, cuts)), Siblings(topology, numbers)))
        nbytes = sum(key.nbytes for key, _ in self.shards) + (self.test.nbytes if self.test else 0)
        self.keep = len(self.shards) <= CACHED_SHARDS and nbytes <= CACHED_BYTES

    def _chunks(self, numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """So many workers at a time, all at one site."""
        groups = [numbers]
        if self.sites:
            here = np.array([self.sites.get(worker, "") for worker in self.topology.workers])[numbers]
            groups = [numbers[here == site] for site in np.unique(here)]
        for group in groups:
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def at(self, node: str) -> dict[str, str]:
        """What to tell the session so that a node's task runs at its site."""
        return {"at": self.sites[node]} if node in self.sites else {}

    @cached_property
    def number(self) -> dict[str, int]:
        """A worker's number by its id."""
        return {worker: number for number, worker in enumerate(self.topology.workers)}

    def clock(self) -> float:
        """Seconds since the federation began to run; simulated ones, if time is."""
        return self.session.now if self.simulated else time.monotonic() - self._origin

    def resume_clock(self, seconds: float) -> None:
        """Go on counting from so many seconds."""
        if self.simulated:
            self.session.now = seconds
        else:
            self._origin = time.monotonic() - seconds
            self.began = time.time() - seconds

    @cached_property
    def always(self) -> bool:
        """Whether every device answers whenever it is asked."""
        return all(profile.availability == 1 for _, profile in self.topology.profiles)

    def available(self, worker: str, number: int) -> bool:
        """Whether a device answers when it is asked for the `number`-th time."""
        limit = self.topology.profile(worker).availability
        return limit == 1 or stream(self.seed, "available", number, self.number[worker]) < limit * 2**63

    def device_s(self, worker: str, nbytes: int) -> float:
        """Simulated seconds from the coordinator's sending a model of so many bytes to the parent's having the update;
        0 where time is real.
        """
        if not self.simulated:
            return 0.0
        wires, samples = self.wires, len(self.parts[self.number[worker]]) * self.strategy.local_epochs
        return wires.down_s(worker, nbytes) + wires.train_s(worker, samples) + wires.up_s(worker, nbytes)

    def up_s(self, aggregator: str, nbytes: int) -> float:
        """Simulated seconds of an aggregator's sums, or means, for a model of so many bytes to its parent."""
        return self.wires.up_s(aggregator, nbytes * (1 if self.means else 2)) if self.simulated else 0.0

    def put(self, obj: Any) -> Key:
        return self.hold(self.store.put(obj))

    def address(self) -> Address:
        return self.hold(self.store.address())

    def hold(self, key: Any) -> Any:
        """Take note of a lease; returns the key or address."""
        if key.name is not None:
            self._held[key.name] = key
        return key

    def drop(self, *keys: Key | Address) -> None:
        """End leases."""
        for key in keys:
            if self._held.pop(key.name, None) is not None:
                self.store.release(key)

    def forget(self, *keys: Key | Address) -> None:
        """Leases that the control plane has ended: those of what a failed task was to write."""
        for key in keys:
            self._held.pop(key.name, None)

    def bytes_by_tier(self) -> list[tuple[int, int]]:
        """(down, up) so far over the edges between depth d and d + 1."""
        moved = self.store.bytes_by_edge()
        return [(moved.get(down, 0), moved.get(up, 0)) for down, up in self.edges]

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        for key in self._held.values():
            with contextlib.suppress(ValueError):  # a session that closes ends the leases of what it had not delivered
                self.store.release(key)
        self._held.clear()
