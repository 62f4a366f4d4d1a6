"""A small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def cnn(shape: Sequence[int], classes: int) -> nn.Sequential:
    """Two 3×3 convolutions (16, 32 channels), each with ReLU and 2×2 max pooling, then one linear layer.

    Takes images of `shape` (channels, height, width) of at least 4×4 pixels; has no buffers and no
    randomness.
    """
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), classes),
    )
