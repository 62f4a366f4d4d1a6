"""What travels between nodes: the tensors of a model as one flat vector per type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import frexp

import torch
from torch import nn

PARAMETER_ROOM, BUFFER_ROOM = 20, 30


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All state of a model by name: parameters, then buffers (also those not saved); tied tensors once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def pack(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """One flat copy per type, in the order in which the types first appear."""
    groups: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor.detach().reshape(-1))
    return [torch.cat(group) for group in groups.values()]


def unpack(flats: Sequence[torch.Tensor], tensors: Iterable[torch.Tensor]) -> None:
    """Write what `pack` made back into `tensors`."""
    groups: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    with torch.no_grad():
        for flat, group in zip(flats, groups.values(), strict=True):
            for part, tensor in zip(flat.split([tensor.numel() for tensor in group]), group, strict=True):
                tensor.copy_(part.view_as(tensor))


@dataclass(frozen=True, eq=False)
class Version:
    """A model version as nodes get it: `flats` and, per flat, the size of each tensor in it and its `bounds`.

    An update's tensor must stay below 2^bound in magnitude, where bound = room + log2 of the version's own largest
    value (1 at least), rounded up. The rooms (2^20 for parameters, 2^30 for buffers such as running variances) are far
    above what training that works can reach in a round; they are what makes sums exact (see `aggregation`).
    """

    flats: list[torch.Tensor]
    sizes: tuple[tuple[int, ...], ...]
    rooms: tuple[tuple[int, ...], ...]
    bounds: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> Version:
        groups: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in tensors:
            groups.setdefault(tensor.dtype, []).append(tensor)
        sizes = tuple(tuple(tensor.numel() for tensor in group) for group in groups.values())
        rooms = tuple(
            tuple(PARAMETER_ROOM if isinstance(tensor, nn.Parameter) else BUFFER_ROOM for tensor in group)
            for group in groups.values()
        )
        return cls._bounded(pack(tensors), sizes, rooms)

    def next(self, flats: list[torch.Tensor]) -> Version:
        """The version after this one, of the same layout."""
        return self._bounded(flats, self.sizes, self.rooms)

    @classmethod
    def _bounded(cls, flats: list[torch.Tensor], sizes: tuple, rooms: tuple) -> Version:
        bounds = tuple(
            tuple(room + max(0, frexp(peak)[1]) for room, peak in zip(row, _peaks(flat, parts), strict=True))
            for flat, parts, row in zip(flats, sizes, rooms, strict=True)
        )
        return cls(flats, sizes, rooms, bounds)

    def check(self, flats: Sequence[torch.Tensor], names: Sequence[str]) -> None:
        """Raise FloatingPointError if an update holds NaN, infinities or values beyond the bounds."""
        place = 0
        for flat, sizes, bounds in zip(flats, self.sizes, self.bounds, strict=True):
            for peak, bound in zip(_peaks(flat, sizes), bounds, strict=True):
                if not peak <= 2.0**bound:
                    raise FloatingPointError(
                        f"training diverged: {names[place]} reached {peak:g}; lower lr, or scale the inputs"
                    )
                place += 1


def _peaks(flat: torch.Tensor, sizes: Sequence[int]) -> list[float]:
    """The largest magnitude in each tensor; NaN if it holds one; 0 for integers, which are never summed."""
    if not flat.is_floating_point():
        return [0.0] * len(sizes)
    return [
        float(torch.linalg.vector_norm(part, float("inf"))) if len(part) else 0.0 for part in flat.split(list(sizes))
    ]
