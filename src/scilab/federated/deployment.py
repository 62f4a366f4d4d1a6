"""What lies on the data plane for as long as a federation runs: the bare model, the devices' rows, the test rows."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from typing import Any

import torch

from ..planes import Address, Key, Session, Stopped, Store
from .topology import Topology
from .training import Skeleton

CACHED_SHARDS, CACHED_BYTES = 48, 256 << 20
"""Workers keep the rows they have read if there are no more shards and bytes than this; else they read them again."""


class Deployment:
    """Puts things on the data plane and knows every lease; all of them end with the `with` it is used in."""

    def __init__(self, session: Session, store: Store, topology: Topology, skeleton: Skeleton, seed: int) -> None:
        self.session, self.store, self.topology, self.seed = session, store, topology, seed
        self.strategy = skeleton.strategy
        self.number = {worker: number for number, worker in enumerate(topology.workers)}
        self._held: dict[tuple, Key | Address] = {}
        self.skeleton, self.test, self.keep, self.samples = self.put(skeleton), None, False, 0
        self.shards: list[tuple[Key, list[str]]] = []
        self.server: Key | None = None  # what the strategy's server keeps from round to round
        run = uuid.uuid4().hex
        self.edges = [((run, "down", tier), (run, "up", tier)) for tier in range(max(topology.depth.values()))]

    def ship(self, train: tuple, test: tuple | None, parts: Sequence[Any], per_task: int) -> None:
        """Put the test rows, and `shards`: the rows of up to `per_task` workers each, siblings together."""
        self.samples = sum(len(part) for part in parts)
        self.test = None if test is None else self.put(test)
        near = [node for node in self.topology.depth if node in self.number]
        for start in range(0, len(near), per_task):
            if self.session.stopped.is_set():
                raise Stopped
            workers = near[start : start + per_task]
            rows = [torch.as_tensor(parts[self.number[worker]]) for worker in workers]
            cuts = [0, *torch.tensor([len(part) for part in rows]).cumsum(0).tolist()]
            every = torch.cat(rows)
            self.shards.append((self.put((train[0][every], train[1][every], cuts)), workers))
        nbytes = sum(key.nbytes for key, _ in self.shards) + (self.test.nbytes if self.test else 0)
        self.keep = len(self.shards) <= CACHED_SHARDS and nbytes <= CACHED_BYTES

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
