"""What a person wants to see of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .directions import Figures

SPECTRUM_POINTS = 64


@dataclass(frozen=True)
class Report:
    """What the last step did, on this rank.

    `damping` λ; `scale` ν (1 without clipping); `product` Σ ⟨V, ∇L⟩ over the layers, before clipping; `cosines`
    cos(∇L, V) by layer: 1.000 means that a layer is not preconditioned at all, nan that it has no gradient.
    `milliseconds` of the step by stage: "capture" (in the hooks), "factors", "decompose", "precondition", and
    "exchange", which is part of the three before it. `held` bytes by purpose, between steps; `received` and `sent`
    bytes by purpose, since the beginning. `spectra` (d_A, d_G) of the layers that this rank preconditions, ascending,
    thinned out to `SPECTRUM_POINTS` each.
    """

    step: int
    damping: float
    scale: float
    product: float
    cosines: dict[str, float]
    milliseconds: dict[str, float]
    held: dict[str, int]
    received: dict[str, int]
    sent: dict[str, int]
    spectra: dict[str, tuple[list[float], list[float]]]


def cosines(figures: Figures) -> dict[str, float]:
    """cos(∇L, V) by layer; waits for the device once."""
    return {
        name: dot / (ours * theirs) if ours * theirs > 0 else math.nan
        for name, (dot, ours, theirs) in zip(figures.layers, figures.table.T.tolist(), strict=True)
    }


def thinned(values: torch.Tensor, points: int = SPECTRUM_POINTS) -> list[float]:
    """At most `points` eigenvalues, ascending, evenly spaced in rank, the ends among them."""
    ordered = values.flatten().sort().values
    if len(ordered) > points:
        ordered = ordered[torch.linspace(0, len(ordered) - 1, points).round().long()]
    return ordered.tolist()
