"""Networks by name, initialised from an explicit seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .cnn import cnn
from .mlp import mlp
from .resnet import resnet8, resnet18, resnet20, resnet32, resnet50

MODELS: dict[str, Callable[[Sequence[int], int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""Name → builder; a builder takes the input's shape (channels, height, width) and the number of classes."""


def build(name: str, shape: Sequence[int], classes: int, seed: int = 0) -> nn.Module:
    """The network `name` of `MODELS` for inputs of `shape` (channels, height, width), one output per class.

    Its initial weights follow from `seed` alone; the global random state of torch is left as it was.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    shape = tuple(shape)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"shape must be (channels, height, width), all positive, got {shape}")
    if name != "mlp" and min(shape[1:]) < 4:
        raise ValueError(f"{name} needs images of at least 4×4 pixels, got {shape[1]}×{shape[2]}; choose mlp")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MODELS[name](shape, classes)
