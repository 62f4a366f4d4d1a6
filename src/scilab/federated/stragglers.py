"""Devices that are slower than their profiles say, drawn by a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .streams import stream
from .topology import Topology


def stragglers(topology: Topology, share: float, slowdown: float, seed: int = 0) -> Topology:
    """The same tree; a `share` of its devices, drawn by `seed`, trains `slowdown` times as slowly as before."""
    if not 0 <= share <= 1 or not slowdown >= 1:
        raise ValueError(f"share must be from 0 to 1 and slowdown at least 1, got {share} and {slowdown}")
    drawn = np.random.default_rng(stream(seed, "stragglers")).permutation(len(topology.workers))
    workers = [topology.workers[device] for device in drawn[: round(share * len(topology.workers))]]
    profiles = {worker: topology.profile(worker) for worker in workers}
    slow = {worker: replace(old, speed=old.speed / slowdown) for worker, old in profiles.items()}
    return topology.with_profiles(slow)
