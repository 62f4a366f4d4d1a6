"""Many devices as one: a cohort trains as one vectorised batch, `torch.func` over stacked parameters.

A cohort is a block of neighbouring device numbers; those of it that take part in a round stand in its lanes, whatever
the tree, the engine or the number of workers, so that every device's bits follow from (round, device) alone. A cohort
in which training raises is run once more for each device, with blank rows in the other lanes: in the same kernels, on
its own, a device gives the same bits.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from ..planes import Key, cached, get, put
from .aggregation import WeightedSum
from .fedavg import FedAvg
from .layout import Flats, Layout, pack, tensors_of
from .streams import stream
from .training import Loss, Resident, local_sgd, shard_rows

LANES, LANE_BYTES, FEWEST = 128, 2 << 20, 8
"""A cohort has up to so many lanes, and their parameters so many bytes: what fits a core's cache. Below eight lanes
training one by one is as fast."""


def fitting(
    given: int | None, model: nn.Module, loss: Loss, train: tuple[torch.Tensor, torch.Tensor], strategy: FedAvg,
    parts: Sequence[Sequence[int]], draws: bool,
) -> tuple[int, str | None]:  # fmt: skip
    """How many devices share a cohort, and if they do not, why. By default a power of two, by the model's bytes and the
    number of devices, with at least four cohorts in all.
    """
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise ValueError(f"cohort must be a whole number from 1, or None for what suits the model, got {given!r}")
    nbytes = sum(tensor.nbytes for tensor in tensors_of(model).values())
    size = min(LANES, LANE_BYTES // max(nbytes, 1), len(parts) // 4) if given is None else given
    if given is None and size < FEWEST:
        few = f"{len(parts)} devices are too few" if len(parts) // 4 < FEWEST else f"its {nbytes:,} bytes are too many"
        return 1, f"{few} for cohorts to gain anything"
    if size == 1:
        return 1, "the cohort was set to 1"
    if draws:
        return 1, "the model draws random numbers while it trains, as dropout does"
    counts = {len(part) for part in parts}
    rows = min(max(counts), strategy.batch_size or max(counts))
    reason = why_alone(model, loss, train, strategy, max(2, rows), even=len(counts) == 1)
    return (1, reason) if reason else (1 << size.bit_length() - 1 if given is None else size, None)


def why_alone(
    model: nn.Module, loss: Loss, train: tuple[torch.Tensor, torch.Tensor], strategy: FedAvg, batch: int, even: bool
) -> str | None:
    """Why devices with this model, loss and strategy have to train one by one; None if they may share cohorts.

    Three are tried, together and alone, on `batch` samples each; the last has one less, if they are not `even`.
    """
    trial, once = copy.deepcopy(model).train(), copy.copy(strategy)
    object.__setattr__(once, "local_epochs", 1)
    layout, start = Layout(trial), pack(tensors_of(trial).values())
    sizes = torch.tensor([batch, batch, batch if even else batch - 1])
    rows = Rows(torch.arange(3 * batch) % len(train[1]), batch * torch.arange(3), sizes)
    alone: list[Flats] = []
    for begin, size in zip(rows.starts.tolist(), sizes.tolist(), strict=True):
        part = rows.numbers[begin : begin + size]
        layout.unpack(start)
        local_sgd(trial, loss, train[0][part], train[1][part], once, torch.Generator(), layout.parameters)
        alone.append(pack(layout.tensors()))
    named = dict(trial.named_buffers())
    moved = [name for name, buffer in model.named_buffers() if not torch.equal(named[name], buffer)]
    if moved:
        return f"the model's buffers change while it trains: {', '.join(moved[:3])}"
    layout.unpack(start)
    lanes = Lanes(trial, loss)
    for some in (Rows(rows.numbers, rows.starts[:2], sizes[:2]), rows):
        try:
            trained, _ = lanes.sgd(*train, some, once, None)
        except Exception as error:
            return f"torch.func cannot vectorise its training: {type(error).__name__}: {str(error).splitlines()[0]}"
        together = layout.stack(dict(zip(lanes.names, trained, strict=True)), len(some.counts))
        for lane, update in enumerate(zip(*together, strict=True)):
            for one, other, before in zip(update, alone[lane], start, strict=True):
                if one.is_floating_point() and not _near(one, other, before):
                    return "a device trained among others does not get what it gets alone: rows or devices mix"
    return None


def _near(one: torch.Tensor, other: torch.Tensor, start: torch.Tensor) -> bool:
    """Equal up to rounding, by the size of what training changed."""
    eps = torch.finfo(one.dtype).eps
    one, other, start = one.double(), other.double(), start.double()
    return bool((one - other).norm() <= eps**0.5 * (other - start).norm() + eps * start.norm())


@dataclass(frozen=True)
class Rows:
    """Which rows of the data the devices of a cohort have: of `numbers`, `counts` from `starts` on, each (lanes,)."""

    numbers: torch.Tensor
    starts: torch.Tensor
    counts: torch.Tensor

    def table(self, orders: Sequence[torch.Generator] | None) -> torch.Tensor:
        """One line a lane, in the order of this pass; short ones are filled up with a row of their own."""
        if orders is None:
            within = torch.minimum(torch.arange(int(self.counts.max())), self.counts.unsqueeze(1) - 1)
        else:
            shuffled = [
                torch.randperm(n, generator=order) for n, order in zip(self.counts.tolist(), orders, strict=True)
            ]
            within = nn.utils.rnn.pad_sequence(shuffled, batch_first=True)
        return self.numbers[self.starts.unsqueeze(1) + within]

    def blanked(self, lanes: Sequence[bool], blank: int) -> Rows:
        """With row `blank` of the data in some lanes."""
        numbers = torch.cat([self.numbers, self.numbers.new_full((int(self.counts.max()),), blank)])
        return Rows(numbers, torch.where(torch.tensor(lanes), len(self.numbers), self.starts), self.counts)


class Lanes:
    """Vectorised SGD from one model, each lane on rows of its own.

    Only the loss is vectorised; differentiated it is by plain autograd, as the sum over lanes that know nothing of each
    other. (`torch.func.grad` gives the same, and imports half a compiler, 40 MB in every process.)
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.model = model
        self.names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]

        def whole(parameters: tuple, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return loss(functional_call(model, dict(zip(self.names, parameters, strict=True)), (inputs,)), labels)

        def padded(
            parameters: tuple, inputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
        ) -> torch.Tensor:
            outputs = functional_call(model, dict(zip(self.names, parameters, strict=True)), (inputs,))
            each = vmap(lambda output, label: loss(output.unsqueeze(0), label.unsqueeze(0)))(outputs, labels)
            return (each * weights).sum()

        self._whole, self._padded = vmap(whole), vmap(padded)

    def sgd(
        self, inputs: torch.Tensor, labels: torch.Tensor, rows: Rows, strategy: FedAvg,
        orders: Sequence[torch.Generator] | None,
    ) -> tuple[list[torch.Tensor], list[float]]:  # fmt: skip
        """As `training.local_sgd`, for the devices with these `rows` of the data: the trained parameters, stacked, and
        each device's mean loss over its last pass. The model holds what all start from. `orders`, a generator a
        device, shuffle the rows; None where every pass is one batch.
        """
        named = dict(self.model.named_parameters())
        starts = [named[name].detach() for name in self.names]
        counts = rows.counts
        now = [start.expand(len(counts), *start.shape).clone() for start in starts]
        speeds = [torch.zeros_like(stack) for stack in now] if strategy.momentum else None
        hook = vmap(strategy.gradient, in_dims=(0, 0, None)) if strategy.replaces("gradient") else None
        batch = strategy.batch_size or int(counts.max())
        for _ in range(strategy.local_epochs):
            table, totals = rows.table(orders), torch.zeros(len(counts), dtype=torch.float64)
            for begin in range(0, table.shape[1], batch):
                sizes = (counts - begin).clamp(0, batch)
                some = None if int(sizes.min()) else sizes.nonzero().squeeze(1)  # the lanes that have rows left
                if some is not None:
                    sizes = sizes[some]
                there = table[:, begin : begin + int(sizes.max())]
                there = there if some is None else there[some]
                parameters = now if some is None else [stack[some] for stack in now]
                gradients, values = self._step(parameters, inputs[there], labels[there], sizes)
                for index, gradient in enumerate(gradients):
                    if gradient is None:  # the unused are left alone, as torch.optim leaves them
                        continue
                    if hook is not None:
                        gradient = hook(gradient, parameters[index], starts[index])
                    if speeds is not None:
                        speed = speeds[index] if some is None else speeds[index][some]
                        gradient = speed.mul_(strategy.momentum).add_(gradient)
                        if some is not None:
                            speeds[index][some] = speed
                    parameters[index].sub_(gradient, alpha=strategy.lr)
                    if some is not None:
                        now[index][some] = parameters[index]
                done = values.double() * sizes
                totals += done if some is None else torch.zeros_like(totals).index_copy_(0, some, done)
        return now, (totals / counts).tolist()

    def _step(
        self, parameters: Sequence[torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor, sizes: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor | None], torch.Tensor]:
        """Gradients and losses over the first `sizes` rows of each lane."""
        width, leaves = inputs.shape[1], tuple(stack.detach().requires_grad_() for stack in parameters)
        if int(sizes.min()) == width:
            values = self._whole(leaves, inputs, labels)
        else:
            weights = (torch.arange(width) < sizes.unsqueeze(1)) / sizes.unsqueeze(1)
            values = self._padded(leaves, inputs, labels, weights.to(leaves[0].dtype))
        return torch.autograd.grad(values.sum(), leaves, allow_unused=True), values.detach()


def train_cohorts(
    skeleton: Key, version: Key, shard: Key, keep: bool, seed: int, number: int, groups: Sequence[tuple],
    blank: Sequence[tuple[int, int]] = (), capacity: int = 0,
) -> list[tuple[Key | None, list[tuple]]]:  # fmt: skip
    """Task: as `training.train`, a cohort at a time. `blank` are devices that keep their lanes, with blank rows.

    With a `capacity` (see `WeightedSum`) what siblings leave is the sum of their updates, as their parent would add
    them up; on the edges are counted the updates.
    """
    here = cached(Resident, skeleton, threading.get_ident())
    here.model.train()
    here.lanes = here.lanes or Lanes(here.model, here.loss)
    began, (inputs, labels, table, cuts) = time.perf_counter(), shard_rows(shard, keep)
    for devices, _, down, _ in groups:  # each device's edge carries the version, which is read once for all of them
        flats = get(version, down, readers=len(devices))
    here.layout.unpack(flats)
    blanks = {device for _, device in blank}
    pairs = sorted(
        (device, place) for part in (blank, *(group[0] for group in groups)) for place, device in _pairs(part)
    )
    where = {device: position for position, (device, _) in enumerate(pairs)}
    below = [[where[device] for _, device in _pairs(group[0])] for group in groups]
    left = [WeightedSum(here.layout, flats, capacity) if capacity else [] for _ in groups]
    owners = np.full(len(pairs), -1)
    for index, positions in enumerate(below):
        owners[positions] = index
    cuts, found = torch.tensor(cuts), []
    for _, block in groupby(pairs, key=lambda pair: pair[0] // here.cohort):
        members, places = zip(*block, strict=True)
        lanes = torch.tensor(places)
        rows = Rows(table, cuts[lanes], cuts[lanes + 1] - cuts[lanes])
        updates, told = _trained(here, inputs, labels, members, rows, blanks, flats, seed, number)
        mine = owners[len(found) : len(found) + len(members)].copy()
        mine[[reason is not None for _, _, reason in told]] = -1
        for index in np.unique(mine[mine >= 0]):
            own = np.flatnonzero(mine == index)
            rest = updates if len(own) == len(members) else [flat[torch.from_numpy(own)] for flat in updates]
            if capacity:
                left[index].add(rest, rows.counts[torch.from_numpy(own)].tolist())
            else:
                left[index].append(rest)
        found += told
    seconds, done = (time.perf_counter() - began) / (len(found) - len(blanks)), []
    for (_, address, _, up), positions, whole in zip(groups, below, left, strict=True):
        told = [(*found[position][:2], seconds, found[position][2]) for position in positions]
        gave = sum(reason is None for *_, reason in told)
        key = None
        if gave and capacity:
            key = put(address, whole.sums, up, gave * version.nbytes)
        elif gave:
            parts = whole[0] if len(whole) == 1 else [torch.cat(same) for same in zip(*whole, strict=True)]
            key = put(address, parts, up)
        done.append((key, told))
    return done


def _pairs(devices: Sequence) -> list[tuple[int, int]]:
    return devices.tolist() if hasattr(devices, "tolist") else devices


def _trained(
    here: Resident, inputs: torch.Tensor, labels: torch.Tensor, members: Sequence[int], rows: Rows, blanks: set[int],
    start: Flats, seed: int, number: int,
) -> tuple[Flats, list[tuple[int, float, str | None]]]:  # fmt: skip
    """The updates of one cohort, one row a lane; by lane its samples, loss, and why the update is none, if it is."""
    strategy, counts, given, orders = here.strategy, rows.counts.tolist(), rows, None
    if blanks:  # one more row, of zeros
        given = rows.blanked([device in blanks for device in members], len(labels))
        inputs, labels = (torch.cat([part, torch.zeros_like(part[:1])]) for part in (inputs, labels))
    if strategy.batch_size is not None and strategy.batch_size < max(counts):
        orders = [torch.Generator().manual_seed(stream(seed, "shuffle", number, device)) for device in members]
    try:
        trained, losses = here.lanes.sgd(inputs, labels, given, strategy, orders)
    except Exception as error:
        lanes = [lane for lane, device in enumerate(members) if device not in blanks]
        updates = [flat.expand(len(members), -1).clone() for flat in start]
        told = [(count, float("nan"), f"{type(error).__name__}: {error}") for count in counts]
        for lane in lanes if len(lanes) > 1 else ():
            others = set(members) - {members[lane]}
            alone, tells = _trained(here, inputs, labels, members, rows, others, start, seed, number)
            told[lane] = tells[lane]
            for flat, own in zip(updates, alone, strict=True):
                flat[lane] = own[lane]
        return updates, told
    flats, why = here.layout.stack(dict(zip(here.lanes.names, trained, strict=True)), len(members)), {}
    for lane, device in enumerate(members) if strategy.replaces("leave") else ():
        try:
            random = torch.Generator().manual_seed(stream(seed, "noise", number, device))
            here.layout.leave(strategy, [flat[lane] for flat in flats], start, random)
        except Exception as error:
            why[lane] = f"{type(error).__name__}: {error}"
    why = here.layout.faults(flats, here.layout.bounds(start)) | why
    return flats, [(count, loss, why.get(lane)) for lane, (count, loss) in enumerate(zip(counts, losses, strict=True))]
