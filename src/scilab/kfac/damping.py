"""Damping that adapts to how well the quadratic model foretold the loss (Levenberg-Marquardt).

J. Martens & R. Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015,
section 6.5. kfac-jax's documentation warns that it is unreliable for very noisy losses, where a fixed value does well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from .curvature import Curvature
from .layers import Layer
from .solve import Basis


@dataclass(frozen=True)
class LevenbergMarquardt:
    """λ begins at `initial`; every `every` steps the reduction ratio ρ multiplies it by `decay` ** every (ρ > 3/4) or
    divides it by that (ρ < 1/4), within `lowest` and `highest`.
    """

    initial: float
    every: int = 5
    decay: float = 0.95
    lowest: float = 1e-8
    highest: float = 1e8

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.initial <= self.highest:
            raise ValueError(
                f"initial must be positive and lie between lowest and highest, got initial={self.initial!r}, "
                f"lowest={self.lowest!r}, highest={self.highest!r}"
            )
        if not isinstance(self.every, int) or self.every < 1:
            raise ValueError(f"every must be a whole number of steps from 1; got {self.every!r}")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must lie between 0 and 1; 0.95 is usual; got {self.decay!r}")

    def adapted(self, damping: float, ratio: float) -> float:
        """λ for the steps to come; a ratio that is not finite counts as bad."""
        factor = self.decay**self.every
        if ratio > 0.75:
            damping *= factor
        elif not ratio >= 0.25:
            damping /= factor
        return min(max(damping, self.lowest), self.highest)


class Trial:
    """What the quadratic model needs of the moment before the optimizer's step, for some `layers` and other parameters.

    M(δ) - M(0) = ∇ᵀδ + ½ δᵀ (A ⊗ G + λ I) δ over the layers, with M as in section 6.4, of which 6.5 takes the ratio;
    what has no curvature yet, and the `others`, count with ∇ᵀδ alone.
    """

    def __init__(
        self, layers: Mapping[str, Layer], bases: Mapping[str, Basis], gradients: Mapping[str, torch.Tensor | None],
        others: Iterable[nn.Parameter], damping: float,
    ) -> None:  # fmt: skip
        self._damping = damping
        self._layers = [
            (layer, layer.weights(), gradients[name].clone(), bases.get(name))
            for name, layer in layers.items()
            if gradients[name] is not None
        ]
        self._others = [(p, p.detach().clone(), p.grad.clone()) for p in others if p.grad is not None]

    def foretold(self) -> float:
        """M(δ) - M(0) for what the parameters have changed since."""
        total = sum(((p - before) * grad).sum().double() for p, before, grad in self._others)
        for layer, before, grad, basis in self._layers:
            change = layer.weights() - before
            total = total + (grad * change).sum().double()
            if basis is not None:
                turned = basis.right.to(change.dtype).mT @ change
                turned = turned if basis.left is None else turned @ basis.left.to(change.dtype)
                values = basis.right_values[:, :, None] * basis.left_values[:, None, :]
                curved = (values * turned.square()).sum() + self._damping * change.square().sum()
                total = total + curved.double() / 2
        return float(total)


class Adaptation:
    """Tries a step of K-FAC whenever `rule` is due: each layer with its owner, all other parameters on rank 0."""

    def __init__(
        self, rule: LevenbergMarquardt, model: nn.Module, layers: Mapping[str, Layer], curvature: Curvature,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.rule, self._curvature, self._tell = rule, curvature, tell
        self._exchange = curvature.exchange
        self._layers = {name: layers[name] for name in self._exchange.placement.owned(self._exchange.rank)}
        covered = {id(p) for layer in layers.values() for p in layer.parameters()}
        self._others = [p for p in model.parameters() if id(p) not in covered and self._exchange.rank == 0]
        self._trial: Trial | None = None

    def begin(self, step: int, damping: float, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Before the gradients of `step` are overwritten; nothing on steps that are not due."""
        if step % self.rule.every:
            return
        if self._trial is not None:
            self._tell("damping can adapt only if kfac.adapt(loss, again) is called after optimizer.step()")
        self._trial = Trial(self._layers, self._curvature.bases, gradients, self._others, damping)

    def end(self, loss: torch.Tensor | float, again: Callable[[], torch.Tensor | float]) -> float | None:
        """ρ after the optimizer's step, the same on all ranks; None if no step is on trial."""
        if self._trial is None:
            return None
        trial, self._trial = self._trial, None
        after, before = (torch.as_tensor(each).detach() for each in (again(), loss))
        change = float(after - before) / self._exchange.placement.ranks
        change, foretold = self._exchange.sum([change, trial.foretold()])
        return change / foretold if foretold else math.nan

    def forget(self) -> None:
        """Drop a step that is on trial."""
        self._trial = None
