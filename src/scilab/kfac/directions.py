"""From gradients to preconditioned gradients V of all layers, on every rank, and how far a step along them may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .curvature import Curvature


@dataclass(frozen=True)
class Figures:
    """Numbers of one step, still on the device: ν (None without clipping), Σ ⟨V, ∇L⟩ before clipping, and for each of
    `layers` a column of (⟨V, ∇⟩, |V|, |∇|).
    """

    step: int
    damping: float
    scale: torch.Tensor | None
    product: torch.Tensor
    layers: list[str]
    table: torch.Tensor


def directions(
    gradients: Mapping[str, torch.Tensor | None], curvature: Curvature, damping: float
) -> dict[str, torch.Tensor]:
    """V (blocks, outputs, inputs) by layer: solved where the decompositions are, then sent along the rows of the grid.

    A layer that nothing was decomposed for keeps its gradient.
    """
    exchange, shapes = curvature.exchange, curvature.shapes
    sizes = {name: (shape.blocks, shape.outputs, shape.inputs) for name, shape in shapes.items()}
    solved: dict[str, torch.Tensor] = {}
    for name in exchange.placement.preconditions(exchange.rank):
        grad, basis = gradients[name], curvature.bases.get(name)
        if grad is None:
            grad = torch.zeros(sizes[name], dtype=curvature.storage.dtype, device=curvature.device)
        solved[name] = grad if basis is None else basis.solve(grad, damping)
    if exchange.placement.columns == 1:
        return solved
    flat = {name: each.reshape(-1) for name, each in solved.items()}
    lengths = {name: shape.parameters for name, shape in shapes.items()}
    flat = exchange.share_gradients(flat, lengths, curvature.storage.dtype)
    return {name: each.view(sizes[name]) for name, each in flat.items()}


def measure(
    step: int, damping: float, gradients: Mapping[str, torch.Tensor | None], solved: Mapping[str, torch.Tensor],
    kl_clip: float | None, lr: float | None,
) -> Figures | None:  # fmt: skip
    """Figures of the layers that have a gradient, None if none has; nothing waits for the device.

    ν = min(1, √(κ / (η² |Σ ⟨V, ∇L⟩|))) (Pauloski et al., SC20): ⟨V, ∇L⟩ = Vᵀ F V for V = F⁻¹ ∇L.
    """
    names = [name for name, grad in gradients.items() if grad is not None]
    if not names:
        return None
    ours, theirs = [solved[name] for name in names], [gradients[name] for name in names]
    dots = torch.stack([torch.dot(v.reshape(-1), g.reshape(-1)) for v, g in zip(ours, theirs, strict=True)])
    product, scale = dots.sum(), None
    if kl_clip is not None:
        scale = (kl_clip / (lr**2 * product.abs())).sqrt().clamp(max=1.0) if lr else torch.ones_like(product)
    norms = torch.stack([*torch._foreach_norm(ours), *torch._foreach_norm(theirs)]).view(2, -1)
    return Figures(step, damping, scale, product, names, torch.cat([dots[None], norms]))
