"""What travels between nodes: all tensors of a model as one flat vector per type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import frexp

import torch
from torch import nn

from .fedavg import FedAvg

Flats = list[torch.Tensor]
PARAMETER_ROOM, BUFFER_ROOM = 20, 30


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All state of a model by name: parameters, then buffers (also those not saved); tied tensors once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def by_type(tensors: Iterable[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Detached, grouped by type, in the order in which the types first appear."""
    groups: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor.detach())
    return list(groups.values())


def pack(tensors: Iterable[torch.Tensor]) -> Flats:
    """One flat copy per type."""
    return [torch.cat([tensor.reshape(-1) for tensor in group]) for group in by_type(tensors)]


def fill(tensors: Iterable[torch.Tensor], flats: Flats) -> None:
    """Write what `pack` made of such tensors into these."""
    for flat, group in zip(flats, by_type(tensors), strict=True):
        for part, tensor in zip(flat.split([tensor.numel() for tensor in group]), group, strict=True):
            tensor.copy_(part.view(tensor.shape))


class Layout:
    """Where each tensor of `model` lies in its flats; packs, unpacks and bounds them. `pooled` names running means and
    the variances that are pooled about them.
    """

    def __init__(self, model: nn.Module, pooled: Sequence[tuple[str, str]] = ()) -> None:
        named = tensors_of(model)
        self.model, self.parameters = model, list(model.parameters())
        self.has_buffers = len(named) > len(self.parameters)
        groups = by_type(named.values())
        self.dtypes = [group[0].dtype for group in groups]
        self.sizes = [[tensor.numel() for tensor in group] for group in groups]
        self._shape = [(dtype, sum(sizes)) for dtype, sizes in zip(self.dtypes, self.sizes, strict=True)]
        self.names = [[name for name, tensor in named.items() if tensor.dtype == dtype] for dtype in self.dtypes]
        # of each flat, the parameters come first
        kinds = [[isinstance(named[name], nn.Parameter) for name in names] for names in self.names]
        self.learnt = [
            sum(size for size, learnt in zip(*pair, strict=True) if learnt)
            for pair in zip(self.sizes, kinds, strict=True)
        ]
        self._rooms = [
            [PARAMETER_ROOM if isinstance(named[name], nn.Parameter) else BUFFER_ROOM for name in names]
            for names in self.names
        ]
        self.pooled = [tuple(map(self.place, pair)) for pair in pooled]

    def place(self, name: str) -> tuple[int, int, slice]:
        """Of a tensor: its flat, its number among that flat's, and the numbers it takes."""
        group = next(g for g, names in enumerate(self.names) if name in names)
        index = self.names[group].index(name)
        start = sum(self.sizes[group][:index])
        return group, index, slice(start, start + self.sizes[group][index])

    def tensors(self) -> list[torch.Tensor]:
        """The model's tensors as they are now: a forward pass may put another tensor in a buffer's place."""
        return [*self.parameters, *self.model.buffers()] if self.has_buffers else self.parameters

    def unpack(self, flats: Flats) -> None:
        """Write flats into the model."""
        fill(self.tensors(), flats)

    def bounds(self, flats: Flats) -> list[list[int]]:
        """Powers of two that an update of this version may not exceed in magnitude, per tensor.

        The version's own largest value (at least 1) times 2^20 for parameters, 2^30 for buffers such as running
        variances: far above what a round of training that works can reach; they are what makes sums exact.
        """
        found = [
            [room + max(0, frexp(peak)[1]) for room, peak in zip(rooms, _peaks(flat, sizes), strict=True)]
            for flat, sizes, rooms in zip(flats, self.sizes, self._rooms, strict=True)
        ]
        for (group, mean, _), (other, variance, _) in self.pooled:  # the square of a mean must fit in, too
            found[other][variance] = max(found[other][variance], 2 * found[group][mean] - BUFFER_ROOM)
            found[group][mean] = found[other][variance] // 2 - 1
        return found

    def leave(self, strategy: FedAvg, flats: Flats, start: Flats, random: torch.Generator) -> None:
        """Replace the parameters of a trained update by start + `strategy.leave`(what has changed)."""
        pairs = [(f[:n], s[:n]) for f, s, n in zip(flats, start, self.learnt, strict=True) if n]
        change = strategy.leave(torch.cat([flat - before for flat, before in pairs]), random)
        for (flat, before), part in zip(pairs, change.split([len(flat) for flat, _ in pairs]), strict=True):
            torch.add(before, part.to(flat.dtype), out=flat)

    def server(self, strategy: FedAvg, model: Flats, mean: Flats, state: list[Flats]) -> tuple[Flats, list[Flats]]:
        """The new version, its parameters by `strategy.server`, its buffers by the mean; and the state to keep."""
        fresh, kept = [], []
        for g, (before, after, n) in enumerate(zip(model, mean, self.learnt, strict=True)):
            part, left = strategy.server(before[:n], after[:n], state[g] if state else []) if n else (after[:n], [])
            fresh.append(torch.cat([part.to(after.dtype), after[n:]]))
            kept.append(list(left))
        return fresh, kept

    def stack(self, learnt: Mapping[str, torch.Tensor], rows: int) -> Flats:
        """Flats of several devices, one row each, from the parameters that have learnt; the rest is the model's."""
        every = [
            learnt[name] if name in learnt else tensor.detach().expand(rows, *tensor.shape)
            for name, tensor in tensors_of(self.model).items()
        ]
        groups = [[tensor.reshape(rows, -1) for tensor in every if tensor.dtype == dtype] for dtype in self.dtypes]
        return [torch.cat(group, 1) for group in groups]

    def check(self, flats: Flats, bounds: Sequence[Sequence[int]]) -> None:
        """ArithmeticError if an update holds NaN, infinity or values beyond the bounds; ValueError for other shapes."""
        if [(flat.dtype, flat.numel()) for flat in flats] != self._shape:
            raise ValueError("the model changed the number, type or shape of its tensors while it trained")
        for flat, sizes, limits, names in zip(flats, self.sizes, bounds, self.names, strict=True):
            if flat.is_floating_point() and len(flat):
                low, high = map(float, torch.aminmax(flat))
                if max(-low, high) <= 2.0 ** min(limits):  # where one is NaN, both are
                    continue
            for peak, limit, name in zip(_peaks(flat, sizes), limits, names, strict=True):
                if not peak <= 2.0**limit:
                    raise ArithmeticError(_diverged(name, peak))

    def faults(self, flats: Flats, bounds: Sequence[Sequence[int]]) -> dict[int, str]:
        """Of updates of several devices, one row each: by row, what `check` has against it."""
        found: dict[int, str] = {}
        for flat, sizes, limits, names in zip(flats, self.sizes, bounds, self.names, strict=True):
            if not flat.is_floating_point():
                continue
            for part, limit, name in zip(flat.split(sizes, 1), limits, names, strict=True):
                if not part.shape[1]:
                    continue
                peaks = torch.maximum(part.amax(1), -part.amin(1))
                bad = ~(peaks.double() <= 2.0**limit)
                if bad.any():
                    for row in bad.nonzero().flatten().tolist():
                        found.setdefault(row, f"ArithmeticError: {_diverged(name, float(peaks[row]))}")
        return found


def _diverged(name: str, peak: float) -> str:
    return f"training diverged: {name} reached {peak:g}; lower lr, or scale the inputs"


def _peaks(flat: torch.Tensor, sizes: Sequence[int]) -> list[float]:
    """The largest magnitude in each tensor; NaN if it holds one; 0 for integers, which are never summed."""
    if not flat.is_floating_point():
        return [0.0] * len(sizes)
    return [float(torch.linalg.vector_norm(part, float("inf"))) if len(part) else 0.0 for part in flat.split(sizes)]
