"""What a device does: takes the round's model, trains it on its own rows, leaves its update. Runs inside tasks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..planes import Key, cached, get, put
from .buffers import own_names, pairs
from .fedavg import FedAvg
from .layout import Flats, Layout, fill, pack, tensors_of
from .streams import stream

Loss = Callable[[Any, torch.Tensor], torch.Tensor]
TEST_BATCH = 512
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Skeleton:
    """What stays the same from round to round; put once. `draws`: the model draws from torch's global stream. `cohort`:
    how many devices train as one batch. `buffers`: see `buffers`.
    """

    model: nn.Module
    loss: Loss
    strategy: FedAvg
    draws: bool
    cohort: int = 1
    buffers: str = "mean"


class Resident:
    """One model per worker thread, trained in place by one device after another: nothing is built per device."""

    def __init__(self, skeleton: Key, thread: int) -> None:
        torch.set_num_threads(1)  # the order in which a thread pool adds would reach the bits
        self.skeleton = skeleton
        self.renew()

    def renew(self) -> None:
        """Take the model anew: one that failed in the middle of a step may have left anything behind."""
        kept: Skeleton = get(self.skeleton)
        self.model, self.loss, self.strategy, self.draws = kept.model, kept.loss, kept.strategy, kept.draws
        self.layout = Layout(self.model, pairs(self.model) if kept.buffers == "pooled" else ())
        self.own = own_names(self.model) if kept.buffers == "keep" else []
        self.cohort, self.lanes = kept.cohort, None

    def own_tensors(self) -> list[torch.Tensor]:
        """What a device keeps, as it is now."""
        named = tensors_of(self.model)
        return [named[name] for name in self.own]


def shard_rows(shard: Key, keep: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    """Inputs, labels, row numbers, and where among these each device's begin: those at place i are cuts[i] to
    cuts[i + 1]. A shard holds its rows, or their numbers in data that all shards share.
    """
    inputs, labels, rows, cuts = cached(get, shard) if keep else get(shard)
    if isinstance(inputs, Key):
        inputs, labels = cached(get, inputs)
    return inputs, labels, torch.arange(len(labels)) if rows is None else rows, cuts


def train(
    skeleton: Key, version: Key, shard: Key, keep: bool, seed: int, number: int, groups: Sequence[tuple]
) -> list[tuple[Key | None, list[tuple]]]:
    """Task: train several devices whose rows lie in one shard, one after another, in round `number`.

    A group is siblings, whose updates lie under one key: (devices, address, down, up) with, per device, its place in
    the shard and its number. Returns per group the key, None without updates, and per device its samples, loss,
    seconds, and why it failed, if it did: one bad device does not harm the others. Where devices keep tensors of their
    own, a group has two parts more: where each device's lie, and the address for new ones, whose key comes back, too.
    """
    here = cached(Resident, skeleton, threading.get_ident())
    here.model.train()
    inputs, labels, table, cuts = shard_rows(shard, keep)
    done, bounds = [], None
    for devices, address, down, up, *own in groups:
        told, updates, keeps = [], [], []
        for at, (place, device) in enumerate(devices):
            rows, began, loss, reason = table[cuts[place] : cuts[place + 1]], time.perf_counter(), float("nan"), None
            try:
                flats = get(version, down)
                bounds = bounds or here.layout.bounds(flats)
                here.layout.unpack(flats)
                if own and own[0][at] is not None:
                    key, row = own[0][at]
                    fill(here.own_tensors(), [rows_of[row] for rows_of in get(key)])
                    flats = pack(here.layout.tensors())
                with _global_stream(here.draws, stream(seed, "draws", number, device)):
                    order = torch.Generator().manual_seed(stream(seed, "shuffle", number, device))
                    loss = local_sgd(
                        here.model, here.loss, inputs[rows], labels[rows], here.strategy, order, here.layout.parameters
                    )
                start, flats = flats, pack(here.layout.tensors())
                if here.strategy.replaces("leave"):
                    random = torch.Generator().manual_seed(stream(seed, "noise", number, device))
                    here.layout.leave(here.strategy, flats, start, random)
                here.layout.check(flats, bounds)
                if own:
                    keeps.append(pack(here.own_tensors()))
                updates.append(flats)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                here.renew()
                here.model.train()
            told.append((len(rows), loss, time.perf_counter() - began, reason))
        key = put(address, _stacked(updates), up) if updates else None
        done.append((key, told, *([put(own[1], _stacked(keeps)) if keeps else None] if own else [])))
    return done


def _stacked(updates: Sequence[Flats]) -> Flats:
    if len(updates) == 1:  # no copy of what may be large
        return [flat.unsqueeze(0) for flat in updates[0]]
    return [torch.stack(same) for same in zip(*updates, strict=True)]


def local_sgd(
    model: nn.Module, loss: Loss, inputs: torch.Tensor, labels: torch.Tensor, strategy: FedAvg, order: torch.Generator,
    parameters: Sequence[nn.Parameter],
) -> float:  # fmt: skip
    """Train `model` in place; returns the mean loss over the last pass. `order` shuffles the rows of each pass."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    speeds = [torch.zeros_like(parameter) for parameter in parameters] if strategy.momentum else None
    starts = [p.detach().clone() for p in parameters] if strategy.replaces("gradient") else None
    count, step = len(labels), strategy.batch_size or len(labels)
    for _ in range(strategy.local_epochs):
        rows = torch.randperm(count, generator=order)
        inputs_now, labels_now, total = inputs[rows], labels[rows], torch.zeros((), dtype=torch.float64)
        for start in range(0, count, step):
            batch = labels_now[start : start + step]
            value = loss(model(inputs_now[start : start + step]), batch)
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            with torch.no_grad():
                for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                    if gradient is not None:  # the unused are left alone, as torch.optim leaves them
                        if starts is not None:
                            gradient = strategy.gradient(gradient, parameter, starts[index])
                        if speeds is not None:
                            gradient = speeds[index].mul_(strategy.momentum).add_(gradient)
                        parameter.add_(gradient, alpha=-strategy.lr)
                total.add_(value.detach(), alpha=len(batch))
    return float(total) / count


def evaluate(skeleton: Key, version: Key, test: Key, keep: bool) -> tuple[float | None, float]:
    """Task: (accuracy, or None where labels are no classes; mean loss) of a version on the test data."""
    here = cached(Resident, skeleton, threading.get_ident())
    here.layout.unpack(get(version))
    here.model.eval()
    inputs, labels = cached(get, test) if keep else get(test)
    right, total, classes = 0, 0.0, not labels.is_floating_point()
    with torch.no_grad():
        for start in range(0, len(labels), TEST_BATCH):
            batch = labels[start : start + TEST_BATCH]
            outputs = here.model(inputs[start : start + TEST_BATCH])
            total += float(here.loss(outputs, batch)) * len(batch)
            found = outputs.argmax(1) if classes and isinstance(outputs, torch.Tensor) and outputs.dim() > 1 else None
            classes = found is not None and found.shape == batch.shape
            right += int((found == batch).sum()) if classes else 0
    return right / labels.numel() if classes else None, total / len(labels)


@contextlib.contextmanager
def _global_stream(draws: bool, seed: int) -> Iterator[None]:
    """For models that draw from torch's global stream (dropout): seed it, and let no other device draw meanwhile.

    Threads of one process share that stream, so such devices take turns there; worker processes have one each.
    """
    if not draws:
        yield
        return
    with _one_at_a_time, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
