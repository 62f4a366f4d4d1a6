"""Batches: the same for every racer and every number of ranks, in an order that follows from the seed and the epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .likelihood import stream

Batch = tuple[torch.Tensor, torch.Tensor]


class Batches:
    """Batches of `data`: a pair of tensors (inputs, targets), shuffled anew for each epoch, or a loader: anything with
    a length that gives such pairs as batches, a torch DataLoader say, whose order then follows from torch's seed.

    `augment(inputs, generator)` changes a batch's inputs. ValueError for anything else.
    """

    def __init__(self, data: Any, batch_size: int, device: torch.device, seed: int, augment: Callable | None) -> None:
        self.seed, self.device, self.augment, self._loader, self._pair = seed, device, augment, None, None
        if is_pair(data):
            self._pair, self._batch = tuple(part.to(device) for part in data), batch_size
            self.steps = -(-len(data[0]) // batch_size)
        elif hasattr(data, "__iter__") and hasattr(data, "__len__"):
            self._loader, self.steps = data, len(data)
        else:
            raise ValueError(
                f"data must be a pair of tensors (inputs, targets) or a loader with a length, got {type(data).__name__}"
            )
        if not self.steps:
            raise ValueError("the data is empty: give at least one row")

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `skip` on."""
        seed = stream(self.seed, "order", number)
        if self._pair is not None:
            order = torch.randperm(len(self._pair[0]), generator=torch.Generator().manual_seed(seed)).to(self.device)
            found = (tuple(part[rows] for part in self._pair) for rows in order.split(self._batch)[skip:])
        else:
            found = self._loaded(seed, skip)
        for place, (inputs, targets) in enumerate(found, skip):
            if self.augment is not None:
                draws = torch.Generator().manual_seed(stream(self.seed, "augment", number, place))
                inputs = self.augment(inputs, draws)
            yield inputs, targets

    def in_order(self) -> Iterator[Batch]:
        """All rows once, not shuffled: to evaluate on."""
        if self._pair is not None:
            yield from zip(*(part.split(self._batch) for part in self._pair), strict=True)
        else:
            yield from self._loaded(stream(self.seed, "test"), 0)

    def _loaded(self, seed: int, skip: int) -> Iterator[Batch]:
        # A DataLoader shuffles by torch's stream, a data set may augment by it: neither may depend on what else draws.
        with _drawing(seed):
            batches = iter(self._loader)
        for place in range(self.steps):
            with _drawing(stream(seed, place)):
                found = next(batches, None)
            if found is None:
                return
            if place >= skip:
                yield tuple(part.to(self.device, non_blocking=True) for part in found)


@contextlib.contextmanager
def _drawing(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def is_pair(data: Any) -> bool:
    """Whether it is (inputs, targets), as many of each."""
    two = isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, torch.Tensor) for part in data)
    if two and len(data[0]) != len(data[1]):
        raise ValueError(f"there are {len(data[0])} inputs and {len(data[1])} targets; give as many")
    return two


def share(batch: Batch, rank: int, ranks: int) -> tuple[Batch, int]:
    """A rank's rows of a batch, and the number of the first: contiguous, as even as can be."""
    rows = len(batch[0])
    begin, end = rank * rows // ranks, (rank + 1) * rows // ranks
    return tuple(part[begin:end] for part in batch), begin


def crop_and_flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Padded by 4 pixels, cropped back at random, mirrored at random: the augmentation of He et al. (2016), 4.2."""
    n, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    up, left = (torch.randint(0, 9, (n,), generator=generator).to(images.device) for _ in range(2))
    flipped = (torch.rand(n, generator=generator) < 0.5).to(images.device)
    rows = up[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = left[:, None] + torch.where(flipped[:, None], width - 1 - columns, columns)
    each = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
