"""Hooks that see what goes through the layers, and turn it into sums of outer products on the steps that ask for them.

A window is open from the beginning to the end of the model's own forward pass, in training mode, with gradients on.
Whatever calls layers outside it (evaluation, the second forward pass of activation checkpointing) is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .averages import absent, pack
from .layers import Layer
from .likelihood import Likelihood
from .stopwatch import Stopwatch

REDUCTIONS = ("mean", "sum")


@dataclass
class Pass:
    """One forward pass: the calls of each layer, what became of their gradients, and the number of loss terms."""

    calls: dict[str, list[tuple[torch.Tensor, Any, torch.Size]]] = field(default_factory=dict)
    gradients: dict[str, dict[int, torch.Tensor]] = field(default_factory=dict)
    terms: int | None = None


class Capture:
    """Gathers packed sums for `layers` of `model`, by drawing targets ("sampled") or from the loss ("empirical").

    `due()` says whether the coming step wants factors, `seed(pass)` which draws. Empirical gradients are multiplied by
    what `unscale(terms)` returns, which undoes the mean of the loss, accumulation and loss scaling.
    `first` is the global number of the next pass's first example, if it was said; it counts on from there.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, Layer], likelihood: Likelihood, *, sampled: bool, automatic: bool,
        due: Callable[[], bool], seed: Callable[[int], int], unscale: Callable[[int], float], watch: Stopwatch,
        rank: int = 0,
    ) -> None:  # fmt: skip
        self.layers, self.likelihood, self.sampled, self.automatic = layers, likelihood, sampled, automatic
        self._due, self._seed, self._unscale, self._watch, self._rank = due, seed, unscale, watch, rank
        self.first: int | None = None
        self._open, self._pass = False, None
        self._empirical: list[Pass] = []
        self.sums: dict[str, torch.Tensor] = {}
        self._absent: dict[str, int] = {}
        self.observed, self.called = 0, set()
        self._handles = [
            module.register_forward_hook(self._hook(name), with_kwargs=True)
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

    def take(self) -> dict[str, torch.Tensor]:
        """What was gathered since the last call, as `averages.pack` has it; begins anew."""
        for each in self._empirical:
            for name in list(each.calls):
                self._sum(each, name)  # calls that no gradient came to: it is zero
        for name, terms in self._absent.items():
            layer = self.layers[name]
            self._add(name, absent(terms, layer.shape, layer.dtype, layer.weight.device))
        sums, self.sums, self._empirical, self._pass, self._absent = self.sums, {}, [], None, {}
        self.observed, self.called = 0, set()
        return sums

    def _add(self, name: str, vector: torch.Tensor) -> None:
        self.sums[name] = self.sums[name].add_(vector) if name in self.sums else vector

    def _enter(self, model: nn.Module, inputs: tuple) -> None:
        self._open = model.training and torch.is_grad_enabled() and self._due()
        self._pass = Pass() if self._open else None

    def _leave(self, model: nn.Module, inputs: tuple, outputs: Any) -> None:
        opened, self._open = self._open, False  # before anything is differentiated, which may call layers again
        if opened and self.automatic and isinstance(outputs, torch.Tensor) and outputs.dim() > 0:
            self.observe(outputs)

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, named: dict[str, Any], output: torch.Tensor) -> None:
            if not self._open or not isinstance(output, torch.Tensor) or not output.requires_grad:
                return
            seen = self._pass
            calls = seen.calls.setdefault(name, [])
            # The edge, not the tensor: an in-place operation on the output makes the tensor mean something else.
            edge = torch.autograd.graph.get_gradient_edge(output)
            calls.append(((inputs or (named["input"],))[0].detach(), edge, output.shape))
            if not self.sampled:
                number = len(calls) - 1
                output.register_hook(lambda gradient: self._arrived(seen, name, number, gradient))

        return hook

    def observe(self, outputs: torch.Tensor) -> None:
        """Name the outputs of the last forward pass, (examples, …) as the likelihood has them; no effect if not due."""
        seen = self._pass
        if seen is None:
            return
        seen.terms, self._pass = self.likelihood.terms(outputs), None
        self.observed += 1
        self.called |= seen.calls.keys()
        first, draw = self._numbers(len(outputs))
        for name in self.layers.keys() - seen.calls.keys():  # its terms are part of the mean, with gradients of zero
            self._absent[name] = self._absent.get(name, 0) + seen.terms
        if not seen.terms:  # a rank without examples
            return
        if not self.sampled:
            self._empirical.append(seen)
            return
        with self._watch("capture"):
            cotangent = self.likelihood.draw(outputs, self._seed(draw), first).to(outputs.dtype)
            places = [(name, number) for name, calls in seen.calls.items() for number in range(len(calls))]
            edges = [seen.calls[name][number][1] for name, number in places]
            if not edges:
                return
            found = torch.autograd.grad(outputs, edges, cotangent, retain_graph=True, allow_unused=True)
            for (name, number), gradient in zip(places, found, strict=True):
                if gradient is not None:
                    seen.gradients.setdefault(name, {})[number] = gradient
            del found
            for name in list(seen.calls):
                self._sum(seen, name)

    def _numbers(self, examples: int) -> tuple[int, int]:
        """Global number of a pass's first example and which stream it draws from.

        Unless told, passes of equal size on all ranks are assumed, and each pass of a step has a stream of its own.
        """
        if self.first is None:
            return self._rank * examples, self.observed
        first, self.first = self.first, self.first + examples
        return first, 0

    def _arrived(self, seen: Pass, name: str, number: int, gradient: torch.Tensor) -> None:
        if not seen.terms or name not in seen.calls:
            return  # no examples, outputs never observed, or a second backward pass through the same graph
        held = seen.gradients.setdefault(name, {})
        held[number] = gradient
        if len(held) == len(seen.calls[name]):
            with self._watch("capture"):
                self._sum(seen, name)

    @torch.no_grad()
    def _sum(self, seen: Pass, name: str) -> None:
        """Add one pass of one layer, in full precision; if anything in it is not finite, add and count nothing."""
        layer, calls, held = self.layers[name], seen.calls.pop(name), seen.gradients.pop(name, {})
        device = layer.weight.device
        full = torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
        with full:
            gradients = [
                held[number] if number in held else torch.zeros(shape, dtype=layer.dtype, device=device)
                for number, (_, _, shape) in enumerate(calls)
            ]
            left, right, rows = layer.moments([x for x, _, _ in calls], gradients)
            if not self.sampled:
                right = right * self._unscale(seen.terms) ** 2
            self._add(name, pack(left, right, seen.terms, rows, layer.shape))
