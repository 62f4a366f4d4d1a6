"""Which fraction of gradient workers and which batch fit into a rank's memory; the model is only sized.

KAISA's trade-off (J. G. Pauloski et al., SC21): fewer gradient workers hold decompositions in fewer places, which
leaves memory for larger batches, and send preconditioned gradients in every step instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .footprint import Prediction, Storage, predict, shapes_of
from .layers import find_layers


@dataclass(frozen=True)
class Activations:
    """Bytes of a step that depend on the batch: `fixed` + `per_example` · examples."""

    fixed: int
    per_example: int

    def bytes(self, batch: int) -> int:
        """For `batch` examples."""
        return self.fixed + self.per_example * batch


@dataclass(frozen=True)
class Fit:
    """What `fit` found: `parts` are estimated bytes of the fullest rank by purpose; `prediction` is K-FAC's, exact."""

    gradient_worker_fraction: float
    batch: int
    prediction: Prediction
    parts: dict[str, int]

    @property
    def bytes(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def activations(model: nn.Module, example: torch.Tensor | Sequence[torch.Tensor], sampled: bool = True) -> Activations:
    """What training on `example`s (inputs of one example, without the batch dimension) keeps, estimated.

    Counted on the meta device: every tensor that autograd saves for the backward pass, each storage once, and on steps
    with factors, for the "sampled" Fisher, the gradients of all layers' outputs, which are there at once. Buffers of
    single operations and the allocator's rounding are not counted.
    """
    few, many = (_kept(model, example, batch, sampled) for batch in (2, 4))  # BatchNorm wants more than one
    per_example = (many - few) // 2
    return Activations(few - 2 * per_example, per_example)


def _kept(model: nn.Module, example: torch.Tensor | Sequence[torch.Tensor], batch: int, sampled: bool) -> int:
    parts = [example] if isinstance(example, torch.Tensor) else list(example)
    inputs = [torch.empty((batch, *part.shape), dtype=part.dtype, device="meta") for part in parts]
    own = {name: tensor.to("meta") for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    known = {tensor.untyped_storage()._cdata for tensor in own.values()}
    kept, outputs = {}, []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage  # held, so that no other takes its address
        return tensor

    def keep(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        pack(inputs[0])
        outputs.append(output.numel() * output.element_size())

    handles = [m.register_forward_hook(keep) for layer in find_layers(model).values() for m in layer.modules]
    was_training = model.training
    try:
        with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            torch.func.functional_call(model.train(), own, tuple(inputs), tie_weights=True)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return sum(storage.nbytes() for storage in kept.values()) + sum(outputs) * sampled


def fit(
    model: nn.Module, memory_budget: int, example: torch.Tensor | Sequence[torch.Tensor] | None = None, *,
    ranks: int = 1, batch: int | None = None, most: int = 1024, optimizer_copies: int = 1,
    activation: Activations | None = None, storage: Storage | None = None, costs: Mapping[str, float] | None = None,
) -> Fit:  # fmt: skip
    """The largest batch per rank (power of 2, up to `most`) that any fraction leaves room for in `memory_budget` bytes,
    with the largest fraction that does; or for a given `batch`, the largest fraction, which sends least in every step.

    `example` are one example's inputs, sized by `activations`; give `activation` instead where the model does not run
    on the meta device. `optimizer_copies` of the parameters are the optimizer's: 1 for momentum, 2 for Adam.

    Raises:
        ValueError: nothing fits; it says what the least would be.
    """
    if (example is None) == (activation is None):
        raise ValueError("give either an example, whose activations can be counted, or the activation bytes")
    activation = activation or activations(model, example)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())

    shapes, options = shapes_of(model), {"ranks": ranks, "storage": storage, "costs": costs}
    fractions = [workers / ranks for workers in range(ranks, 0, -1) if ranks % workers == 0]
    grids = {each: predict(shapes, gradient_worker_fraction=each, **options) for each in fractions}

    def trial(fraction: float, size: int) -> Fit:
        grid = grids[fraction]
        fullest = max(range(ranks), key=lambda rank: grid.held[rank])
        return Fit(fraction, size, grid, {
            "parameters": weights + buffers, "gradients": weights, "optimizer": optimizer_copies * weights,
            "factors": grid.factors[fullest], "decompositions": grid.decompositions[fullest],
            "activations": activation.bytes(size),
        })  # fmt: skip

    sizes = [batch] if batch else [2**power for power in range(most.bit_length() - 1, -1, -1)]
    for found in (trial(fraction, size) for size in sizes for fraction in fractions):
        if found.bytes <= memory_budget:
            return found
    least = min((trial(fraction, sizes[-1]) for fraction in fractions), key=lambda each: each.bytes)
    raise ValueError(
        f"{memory_budget:,} bytes a rank are too few: the least, with batch {least.batch} and fraction "
        f"{least.gradient_worker_fraction:g}, is {least.bytes:,}, of which K-FAC holds "
        f"{least.parts['factors'] + least.parts['decompositions']:,}; take more ranks, skip large layers, or store "
        "decompositions in half precision"
    )
