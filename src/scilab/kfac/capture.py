"""Hooks that see what goes through the layers, and turn it into sums of outer products on the steps that ask for them.

A window is open from the beginning to the end of the model's own forward pass, in training mode, with gradients on.
Whatever calls layers outside it (evaluation, the second forward pass of activation checkpointing) is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .layers import Layer
from .likelihood import Likelihood

REDUCTIONS = ("mean", "sum")


@dataclass
class Sums:
    """What one factor step has gathered of a layer: Σ ā āᵀ and its loss terms, Σ g gᵀ and its rows."""

    left: torch.Tensor | float = 0.0
    right: torch.Tensor | float = 0.0
    terms: torch.Tensor | float = 0.0
    rows: torch.Tensor | float = 0.0


@dataclass
class Pass:
    """One forward pass: the calls of each layer, what became of their gradients, and the number of loss terms."""

    calls: dict[str, list[tuple[torch.Tensor, Any, torch.Size]]] = field(default_factory=dict)
    gradients: dict[str, dict[int, torch.Tensor]] = field(default_factory=dict)
    terms: int | None = None


class Capture:
    """Gathers `Sums` for `layers` of `model`, by drawing targets ("sampled") or from the loss itself ("empirical").

    `due()` says whether the coming step wants factors, `seed(pass)` which draws. Empirical gradients are multiplied by
    what `unscale(terms)` returns, which undoes the mean of the loss, accumulation and loss scaling.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, Layer], likelihood: Likelihood, *, sampled: bool, automatic: bool,
        due: Callable[[], bool], seed: Callable[[int], int], unscale: Callable[[int], float],
    ) -> None:  # fmt: skip
        self.layers, self.likelihood, self.sampled, self.automatic = layers, likelihood, sampled, automatic
        self._due, self._seed, self._unscale = due, seed, unscale
        self.first: int | None = None
        self.rank = 0
        self._open, self._pass = False, None
        self._empirical: list[Pass] = []
        self.sums: dict[str, Sums] = {}
        self.observed, self.seconds = 0, 0.0
        self._handles = [
            module.register_forward_hook(self._watch(name))
            for name, layer in layers.items()
            for module in layer.modules
        ]
        self._handles += [  # last: the model may itself be a layer
            model.register_forward_pre_hook(self._enter),
            model.register_forward_hook(self._leave, always_call=True),
        ]

    def close(self) -> None:
        """Remove every hook. Idempotent."""
        while self._handles:
            self._handles.pop().remove()
        self.take()

    def take(self) -> dict[str, Sums]:
        """What was gathered since the last call; begins anew."""
        for each in self._empirical:
            for name in list(each.calls):
                self._sum(each, name)  # calls that no gradient came to: it is zero
        sums, self.sums, self._empirical, self._pass, self.observed = self.sums, {}, [], None, 0
        return sums

    def _enter(self, model: nn.Module, inputs: tuple) -> None:
        self._open = model.training and torch.is_grad_enabled() and self._due()
        self._pass = Pass() if self._open else None

    def _leave(self, model: nn.Module, inputs: tuple, outputs: Any) -> None:
        opened, self._open = self._open, False  # before anything is differentiated, which may call layers again
        if opened and self.automatic and isinstance(outputs, torch.Tensor) and outputs.dim() > 0:
            self.observe(outputs)

    def _watch(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            if not self._open or not isinstance(output, torch.Tensor) or not output.requires_grad:
                return
            seen = self._pass
            calls = seen.calls.setdefault(name, [])
            # The edge, not the tensor: an in-place operation on the output makes the tensor mean something else.
            edge = torch.autograd.graph.get_gradient_edge(output)
            calls.append((inputs[0].detach(), edge, output.shape))
            if not self.sampled:
                number = len(calls) - 1
                output.register_hook(lambda gradient: self._arrived(seen, name, number, gradient))

        return hook

    def observe(self, outputs: torch.Tensor) -> None:
        """Name the outputs of the last forward pass, (examples, …) as the likelihood has them; no effect if not due."""
        seen = self._pass
        if seen is None:
            return
        began = time.perf_counter()
        seen.terms, self._pass = self.likelihood.terms(outputs), None
        self.observed += 1
        if not self.sampled:
            self._empirical.append(seen)
            return
        first = self.rank * len(outputs) if self.first is None else self.first
        cotangent = self.likelihood.draw(outputs, self._seed(self.observed), first)
        places = [(name, number) for name, calls in seen.calls.items() for number in range(len(calls))]
        edges = [seen.calls[name][number][1] for name, number in places]
        if not edges:
            return
        found = torch.autograd.grad(outputs, edges, cotangent.to(outputs.dtype), retain_graph=True, allow_unused=True)
        for (name, number), gradient in zip(places, found, strict=True):
            if gradient is not None:
                seen.gradients.setdefault(name, {})[number] = gradient
        del found
        self.seconds += time.perf_counter() - began
        for name in list(seen.calls):
            self._sum(seen, name)

    def _arrived(self, seen: Pass, name: str, number: int, gradient: torch.Tensor) -> None:
        if seen.terms is None or name not in seen.calls:
            return  # outputs that were never observed, or a second backward pass through the same graph
        held = seen.gradients.setdefault(name, {})
        held[number] = gradient
        if len(held) == len(seen.calls[name]):
            self._sum(seen, name)

    @torch.no_grad()
    def _sum(self, seen: Pass, name: str) -> None:
        """Add one pass of one layer, in full precision; if anything in it is not finite, add and count nothing."""
        began = time.perf_counter()
        layer, calls, held = self.layers[name], seen.calls.pop(name), seen.gradients.pop(name, {})
        scale = 1.0 if self.sampled else self._unscale(seen.terms)
        inputs = [x for x, _, _ in calls]
        device = layer.weight.device
        with torch.autocast(device.type, enabled=False):
            gradients = [
                held[number].to(layer.dtype) * scale if number in held
                else torch.zeros(shape, dtype=layer.dtype, device=device)
                for number, (_, _, shape) in enumerate(calls)
            ]  # fmt: skip
            left, right, rows = layer.moments(inputs, gradients)
            fine = left.isfinite().all() & right.isfinite().all()  # no host synchronisation
            terms = torch.full_like(rows, seen.terms)
            total = self.sums.setdefault(name, Sums())
            for part, value in (("left", left), ("right", right), ("terms", terms), ("rows", rows)):
                setattr(total, part, getattr(total, part) + torch.where(fine, value, torch.zeros_like(value)))
        self.seconds += time.perf_counter() - began
