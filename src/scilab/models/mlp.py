"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn


def mlp(shape: Sequence[int], classes: int, hidden: Sequence[int] = (32,)) -> nn.Sequential:
    """Fully connected layers with ReLU between them, over the flattened input of `shape` (without batch)."""
    widths = [prod(shape), *hidden, classes]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
