"""Networks of the tasks that no other capability uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

MASK = 0
"""The token that stands for a word to be guessed."""


def autoencoder(sizes: Sequence[int] = (64, 96, 48, 24, 12, 24, 48, 96, 64)) -> nn.Sequential:
    """Linear layers with tanh between them; the code (the narrowest) and the output are linear.

    The kind of network on which Hinton and Salakhutdinov (Science 2006), and Martens and Grosse (2015) after them, saw
    first-order methods crawl.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers.append(nn.Linear(inputs, outputs))
        if outputs not in (min(sizes), sizes[-1]):
            layers.append(nn.Tanh())
    return nn.Sequential(nn.Flatten(), *layers)


def digits_cnn(classes: int = 10) -> nn.Sequential:
    """Two convolutions and two linear layers for images of (1, 8, 8); 38,282 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, classes),
    )  # fmt: skip


class UNet(nn.Module):
    """Two halvings and two doublings with skips (Ronneberger et al. 2015), one logit a pixel: (N, H, W) from (N, 1, H,
    W), H and W multiples of 4.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = _pair(1, width), _pair(width, 2 * width)
        self.bottom = _pair(2 * width, 4 * width)
        self.up2, self.up1 = _pair(6 * width, 2 * width), _pair(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)
        self.halve, self.twice = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.down1(images)
        second = self.down2(self.halve(first))
        up = self.up2(torch.cat([self.twice(self.bottom(self.halve(second))), second], 1))
        return self.head(self.up1(torch.cat([self.twice(up), first], 1))).squeeze(1)


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
    )


class Attention(nn.Module):
    """Self-attention whose projections are plain linear layers, so that K-FAC sees them (nn.MultiheadAttention's are
    not).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        split = (part(x).view(n, tokens, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = nn.functional.scaled_dot_product_attention(*split)
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, width))


class EncoderBlock(nn.Module):
    """Attention and a two-layer network, each after its normalisation and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.norm1, self.norm2 = Attention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.inner(self.norm2(x))


class MaskedLM(nn.Module):
    """A small BERT: logits (N, masked, words) for the places of (N, tokens) that hold `MASK`, as many in each row."""

    def __init__(self, words: int, tokens: int, width: int = 32, heads: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.place = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.blocks(self.embedding(tokens) + self.place))
        return self.head(hidden[tokens == MASK].view(len(tokens), -1, hidden.shape[-1]))
