"""What every loader returns: images and labels for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Split:
    """A labelled set of images, split once and for all into a training and a test part.

    `train` and `test` are pairs (images, labels): images float32 of shape (n, channels, height, width)
    with values in [0, 1], labels int64 of shape (n,), each an index into `classes`.
    """

    name: str
    train: Pair
    test: Pair
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.name}: class names must differ from each other, got {list(self.classes)}")
        for part, (images, labels) in (("train", self.train), ("test", self.test)):
            _check(f"{self.name} {part}", images, labels, len(self.classes))
        here, there = tuple(self.train[0].shape[1:]), tuple(self.test[0].shape[1:])
        if here != there:
            raise ValueError(
                f"{self.name}: training images are {here}, test images {there} (channels, height, width); "
                "bring both to one size and number of channels"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.train[0].shape[1:])

    def __repr__(self) -> str:
        return (
            f"Split({self.name!r}: {len(self.train[1])} training and {len(self.test[1])} test images "
            f"of {self.shape}, {len(self.classes)} classes)"
        )


def _check(where: str, images: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
    if images.dtype != torch.float32 or images.dim() != 4:
        raise ValueError(
            f"{where}: images must be float32 of shape (n, channels, height, width), "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise ValueError(
            f"{where}: labels must be int64 of shape (n,), got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if len(images) != len(labels):
        raise ValueError(f"{where}: {len(images)} images but {len(labels)} labels")
    if images.numel() == 0:
        raise ValueError(f"{where}: there are no images; both parts of a split need at least one")
    low, high = (float(value) for value in torch.aminmax(images))  # a NaN anywhere makes both NaN
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"{where}: image values must be finite and in [0, 1], got a range of {low} to {high}; "
            "divide by the largest possible value, replace missing pixels"
        )
    first, last = int(labels.min()), int(labels.max())
    if first < 0 or last >= classes:
        raise ValueError(f"{where}: labels run from {first} to {last}, but there are {classes} classes")
