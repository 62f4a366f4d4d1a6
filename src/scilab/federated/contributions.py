"""What nodes pass on where some do not wait: differences from the versions that devices were sent, or models.

A contribution is an update of a device, or what an aggregator made of several. Where the coordinator mixes
(`Asynchronous`), sums are of models, Σ nᵢ s(τᵢ) xᵢ with total weight Σ nᵢ s(τᵢ); otherwise of differences,
Σ nᵢ s(τᵢ) (xᵢ - vᵢ) with total weight Σ nᵢ, so that stale updates move the model less. Sums are kept in float64, in
the order of arrival; with `partials="float32"` an aggregator passes up its mean in the type of the model.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..planes import Address, Key, cached, get, put
from .layout import Flats
from .policies import Policy
from .training import Resident
from .versions import Version


@dataclass(frozen=True, eq=False)
class Contribution:
    """Rows (m, p) under one key, to be summed with `weights` (m); `total` is their share of the divisor.

    It counts as made from version number `made_from`. `base` is the version to subtract from each row, if the rows are
    devices' models and differences are wanted. `devices` is the number of devices' updates in it.
    """

    key: Key
    weights: tuple[float, ...]
    total: float
    made_from: int
    devices: int
    base: Version | None = None

    def source(self) -> tuple[Key, Key | None, tuple[float, ...]]:
        """What a task needs to read of it."""
        return self.key, self.base and self.base.key, self.weights

    def scaled(self, scale: float) -> Contribution:
        """With weights times `scale`, and the same share of the divisor."""
        return replace(self, weights=tuple(scale * weight for weight in self.weights))

    def weighed(self, policy: Policy, version: int, mixing: bool) -> Contribution:
        """As an aggregator that has version number `version` counts it in: from now on it is as old as that version."""
        scale = policy.staleness(version - self.made_from)
        total = self.total * scale if mixing else self.total
        return replace(self.scaled(scale), total=total, made_from=version)


Source = tuple[Key, Key | None, tuple[float, ...]]


def _fold(sources: Sequence[Source]) -> Flats:
    """Σ weight · (row - base), one row at a time: the sum, a row and its base are all there is in memory."""
    sums, before, last = [], None, None
    for key, base, weights in sources:
        if base != last:
            before, last = None if base is None else get(base), base
        groups = get(key)
        sums = sums or [None] * len(groups)
        for group, rows in enumerate(groups):
            if not rows.is_floating_point():
                every = [rows.amax(0)] if sums[group] is None else [rows.amax(0), sums[group]]
                sums[group] = torch.stack(every).amax(0)
                continue
            if sums[group] is None:
                sums[group] = torch.zeros(rows.shape[1], dtype=torch.float64)
            for row, weight in zip(rows, weights, strict=True):
                row = row.double() if before is None else row.double() - before[group]
                sums[group].add_(row, alpha=weight)
    return sums


def collect(sources: Sequence[Source], total: float, like: Key | None, address: Address) -> Key:
    """Task: an aggregator's sum; its mean in the types of `like`, a version, if there is one."""
    sums = _fold(sources)
    if like is not None:
        types = [flat.dtype for flat in get(like)]
        sums = [part.div_(total).to(t) if t.is_floating_point else part for part, t in zip(sums, types, strict=True)]
    return put(address, [part.unsqueeze(0) for part in sums])


def advance(
    skeleton: Key, version: Key, steps: Sequence[tuple[float | None, Sequence[Source], float]], address: Address,
    state: Key | None = None, kept: Address | None = None,
) -> tuple[Key, Key | None]:  # fmt: skip
    """Task: the coordinator's next version, after one or more steps (mix, sources, total).

    Without `mix` a step adds the weighted mean of differences; with it, it is (1 - mix) · model + mix · weighted mean.
    The strategy's server makes of that what it will, with its `state`, and leaves its new state at `kept`.
    """
    here, model = cached(Resident, skeleton, threading.get_ident()), get(version)
    left = [] if state is None else get(state)
    for mix, sources, total in steps:
        fresh = [_step(flat, part, mix, total) for flat, part in zip(model, _fold(sources), strict=True)]
        if kept is not None:
            fresh, left = here.layout.server(here.strategy, model, fresh, left)
        model = fresh
    return put(address, model), None if kept is None else put(kept, left)


def _step(flat: torch.Tensor, part: torch.Tensor, mix: float | None, total: float) -> torch.Tensor:
    if not flat.is_floating_point():
        return torch.maximum(flat, part)
    mean = part.div_(total)
    moved = flat.double() + mean if mix is None else flat.double().mul_(1 - mix).add_(mean, alpha=mix)
    return moved.to(flat.dtype)


def nothing() -> Any:
    """Task: what takes simulated time and does nothing, such as a message on its way."""
    return None
