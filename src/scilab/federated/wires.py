"""The links that a federation's messages travel: bytes on each, and how long they take in simulated time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

import numpy as np

from ..planes import Engine
from .topology import Topology

GRID = 2.0**20
"""Simulated times are whole multiples of 1/GRID seconds: sums and differences of them are exact, and so is resume."""
UNLIMITED = 1 << 40


def simulated(inner: Any = None) -> Any:
    """An engine in which every device and aggregator has a machine of its own and things take as long as the
    topology's profiles say; results are real, computed on `inner` (an `Engine`) or in the caller's thread.
    """
    return Engine.virtual(_planned, UNLIMITED, inner)


def _planned(tag: tuple) -> float:
    """Tags of a federation's tasks begin with their simulated seconds."""
    return tag[0]


class Wires:
    """The edges of `topology`, or, with `network`, the paths in that other tree that stand for them."""

    def __init__(self, topology: Topology, network: Topology | None = None) -> None:
        self.topology, self.links = topology, network or topology
        self.network, self.moved = network, np.zeros((len(topology.above), 2), dtype=np.int64)
        if network is not None:
            for node, parent, _ in topology.nodes:
                if node not in network.parent:
                    raise ValueError(f"node {node!r} is not in the network; it has every node of the topology, or more")
                if parent is not None and self.hops(node)[-1:] == [None]:
                    raise ValueError(f"node {node!r} is not below {parent!r} in the network, as it is in the topology")

    def hops(self, node: str) -> list[str | None]:
        """The nodes of the network whose links to their parents lie between a node and its parent in the topology."""
        found, parent = [], self.topology.parent[node]
        while node != parent:
            found.append(node)
            if node is None:
                break
            node = self.links.parent[node]
        return found

    def count(self, node: str | np.ndarray, down: int = 0, up: int | Sequence[int] = 0) -> None:
        """So many bytes have gone from a node's parent to it, and back; or for many nodes, given by their places."""
        places = self.topology.index(node) if isinstance(node, str) else node
        self.moved[places, 0] += down
        self.moved[places, 1] += up

    def bytes_by_edge(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(parent, node) → bytes (down, up) so far."""
        moved = self.moved.tolist()
        return {(parent, node): tuple(moved[i]) for i, (node, parent, _) in enumerate(self.topology.nodes) if parent}

    def by_tier(self, before: np.ndarray) -> tuple[tuple[int, int], ...]:
        """(down, up) since `moved` was `before`, over the edges between depth d and d + 1."""
        tiers = np.zeros((self.topology.height + 1, 2), dtype=np.int64)
        np.add.at(tiers, self.topology.level, self.moved - before)
        return tuple(map(tuple, tiers[1:].tolist()))

    def on_network(self, before: np.ndarray) -> tuple[int, int] | None:
        """Bytes moved since `moved` was `before`, each hop of the network counted: what goes down once on each hop
        that several children of a node share (multicast), and once for each child (unicast). None without a network.
        """
        if self.network is None:
            return None
        shared: dict[tuple[str, str], int] = {}
        unicast = up = 0
        moved = (self.moved - before).tolist()
        for (node, parent, _), (down, back) in zip(self.topology.nodes, moved, strict=True):
            if parent is not None:
                hops = self.hops(node)
                unicast, up = unicast + len(hops) * down, up + len(hops) * back
                for hop in hops:
                    shared[parent, hop] = max(shared.get((parent, hop), 0), down)
        return sum(shared.values()) + up, unicast + up

    def down_s(self, node: str, nbytes: int) -> float:
        """Seconds from the coordinator to a node; what goes down is passed on by every node in between."""
        way = []
        while self.links.parent[node] is not None:
            way.append(node)
            node = self.links.parent[node]
        return self._over(way, nbytes)

    def up_s(self, node: str, nbytes: int) -> float:
        """Seconds from a node to its parent in the topology."""
        return self._over(self.hops(node), nbytes)

    def train_s(self, worker: str, samples: int) -> float:
        """Seconds a device needs to train on so many samples."""
        return on_grid(samples / self.topology.profile(worker).speed)

    def _over(self, nodes: Iterable[str], nbytes: int) -> float:
        profiles = [self.links.profile(node) for node in nodes]
        return on_grid(sum(p.latency_s + (8 * nbytes / p.bandwidth_bps if p.bandwidth_bps else 0) for p in profiles))


def on_grid(seconds: float) -> float:
    """Rounded up to a multiple of 1/GRID."""
    return ceil(seconds * GRID) / GRID


def split(nbytes: int, parts: int) -> list[int]:
    """Whole numbers that differ by one at most and add up to `nbytes`: what each device has of an object they share."""
    return [(nbytes + i) // parts for i in range(parts)]
