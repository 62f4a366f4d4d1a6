"""Residual networks.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

IMAGENET_PIXELS = 64
"""From this height or width on, `resnet18` begins with ImageNet's 7×7 stride-2 convolution and pooling."""


class PadShortcut(nn.Module):
    """He et al.'s option A: every `stride`-th pixel, the new channels zero. No parameters."""

    def __init__(self, more_channels: int, stride: int) -> None:
        super().__init__()
        self.more_channels, self.stride = more_channels, stride

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        thinned = images[:, :, :: self.stride, :: self.stride]
        before = self.more_channels // 2
        return functional.pad(thinned, (0, 0, 0, 0, before, self.more_channels - before))


class Block(nn.Module):
    """Two 3×3 convolutions with batch normalisation, added to what came in (by `option` if shapes differ)."""

    def __init__(self, before: int, after: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        if stride == 1 and before == after:
            self.shortcut: nn.Module = nn.Identity()
        elif option == "A":
            self.shortcut = PadShortcut(after - before, stride)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(images))


class Bottleneck(nn.Module):
    """1×1, 3×3 (which strides) and 1×1 convolutions to four times the channels, added to what came in (option B)."""

    def __init__(self, before: int, width: int, stride: int, option: str) -> None:
        super().__init__()
        after = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after)
        same = stride == 1 and before == after
        self.shortcut: nn.Module = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.bn1(self.conv1(images)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + self.shortcut(images))


def _resnet(
    stem: nn.Sequential, widths: Sequence[int], blocks: int | Sequence[int], classes: int, option: str,
    kind: type[Block] | type[Bottleneck] = Block,
) -> nn.Sequential:  # fmt: skip
    """A stem ending in `widths[0]` channels, then `blocks` blocks per width, the image halved in between."""
    layers: list[nn.Module] = []
    before = widths[0]
    counts = [blocks] * len(widths) if isinstance(blocks, int) else blocks
    for stage, width in enumerate(widths):
        for block in range(counts[stage]):
            layers.append(kind(before, width, 2 if stage > 0 and block == 0 else 1, option))
            before = width if kind is Block else 4 * width
    model = nn.Sequential(*stem, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):  # the initialisation of He et al. (ICCV 2015), as the paper uses
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _small_stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def cifar_resnet(depth: int, shape: Sequence[int], classes: int, option: str = "A") -> nn.Sequential:
    """The paper's CIFAR networks (section 4.2): depth = 6n + 2, n blocks at each of 16, 32 and 64 channels.

    `option` is the shortcut where shapes differ: "A", the paper's, pads with zeros (ResNet-20: 269,722
    parameters with three input channels and ten classes), "B" projects by a 1×1 convolution (272,474).
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 26, 32, …), got {depth}")
    if option not in ("A", "B"):
        raise ValueError(f"option must be 'A' (zero-padded shortcut) or 'B' (1×1 convolution), got {option!r}")
    return _resnet(_small_stem(shape[0], 16), (16, 32, 64), (depth - 2) // 6, classes, option)


def resnet8(shape: Sequence[int], classes: int) -> nn.Sequential:
    """`cifar_resnet` of depth 8, option A."""
    return cifar_resnet(8, shape, classes)


def resnet20(shape: Sequence[int], classes: int) -> nn.Sequential:
    """`cifar_resnet` of depth 20, option A."""
    return cifar_resnet(20, shape, classes)


def resnet32(shape: Sequence[int], classes: int) -> nn.Sequential:
    """`cifar_resnet` of depth 32, option A."""
    return cifar_resnet(32, shape, classes)


def resnet18(shape: Sequence[int], classes: int) -> nn.Sequential:
    """ResNet-18, option B: 64, 128, 256, 512 channels, two blocks each.

    Images of 64×64 pixels and more meet ImageNet's stem (7×7 convolution of stride 2, 3×3 max pooling of
    stride 2; 11,689,512 parameters with 1,000 classes); smaller ones a single 3×3 convolution (11,173,962
    with ten).
    """
    channels, height, width = shape
    if max(height, width) < IMAGENET_PIXELS:
        stem = _small_stem(channels, 64)
    else:
        stem = _imagenet_stem(channels)
    return _resnet(stem, (64, 128, 256, 512), 2, classes, "B")


def resnet50(shape: Sequence[int], classes: int) -> nn.Sequential:
    """ResNet-50, option B, with ImageNet's stem, the 3×3 convolutions striding (25,557,032 parameters with 1,000
    classes).
    """
    return _resnet(_imagenet_stem(shape[0]), (64, 128, 256, 512), (3, 4, 6, 3), classes, "B", Bottleneck)


def _imagenet_stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
