"""The layers K-FAC knows: how each one's input and output gradients make its two Kronecker factors.

Notation: N examples, S positions of a layer per example, ā an input row (a patch, for convolutions) with a 1 appended
for the bias, g the gradient of the *summed* loss with respect to the output at that row. A layer has `blocks` equal
groups (1 but for grouped convolutions) of `inputs` columns of ā and `outputs` rows of g.
"""

from __future__ import annotations

import fnmatch
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .patches import Geometry, patches, second_moment, with_bias

SHARING = ("expand", "reduce")


@dataclass(frozen=True)
class Shape:
    """Sizes of one layer's factors: A is (blocks, inputs, inputs), or diagonal, and G is (blocks, outputs, outputs)."""

    blocks: int
    inputs: int
    outputs: int
    diagonal: bool = False

    @property
    def parameters(self) -> int:
        """Numbers in the gradient (blocks, outputs, inputs)."""
        return self.blocks * self.inputs * self.outputs


class Layer(ABC):
    """One or more modules that hold the same weight; what is common to all kinds.

    `sharing` says how rows of one example combine (R. Eschenhagen et al., "Kronecker-Factored Approximate Curvature
    for Modern Neural Network Architectures", NeurIPS 2023): "expand" sums over rows (exact when each position has a
    loss term of its own), "reduce" averages the inputs and sums the gradients first (for loss terms that
    pool positions).
    """

    def __init__(self, name: str, module: nn.Module, sharing: str) -> None:
        self.name, self.modules, self.sharing = name, [module], sharing
        self.weight: nn.Parameter = module.weight
        bias = getattr(module, "bias", None)
        self.bias = bias if bias is not None and bias.requires_grad else None
        half = self.weight.dtype in (torch.float16, torch.bfloat16)
        self.dtype = torch.float32 if half else self.weight.dtype  # factors are never summed in half precision
        self.shape = self._shape(module)

    @abstractmethod
    def _shape(self, module: nn.Module) -> Shape:
        """The factors' sizes; ValueError for a module with options that K-FAC does not cover."""

    @abstractmethod
    def moments(
        self, inputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | int]:
        """(Σ ā āᵀ, Σ g gᵀ, rows) over all calls of one forward pass; A is divided by loss terms, G by `rows`."""

    def gradient(self) -> torch.Tensor | None:
        """The gradient as (blocks, outputs, inputs) in the factors' dtype, its own memory if it can be; or None."""
        if self.weight.grad is None:
            return None
        grad = self.weight.grad.reshape(self.shape.blocks, self.shape.outputs, -1)
        if self.bias is not None:
            bias = self.bias.grad if self.bias.grad is not None else torch.zeros_like(self.bias)
            grad = torch.cat([grad, bias.view(self.shape.blocks, -1, 1)], dim=2)
        return grad if grad.dtype == self.dtype else grad.to(self.dtype)

    def parameters(self) -> list[nn.Parameter]:
        """The weight, and the bias if it is part of the layer's matrix."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def weights(self) -> torch.Tensor:
        """The parameters as such a matrix, a copy."""
        weight = self.weight.detach().reshape(self.shape.blocks, self.shape.outputs, -1).to(self.dtype, copy=True)
        if self.bias is None:
            return weight
        return torch.cat([weight, self.bias.detach().view(self.shape.blocks, -1, 1).to(self.dtype)], dim=2)

    def write(self, grad: torch.Tensor) -> None:
        """Write such a matrix back, in place: DDP's buckets and fused optimizers hold the old tensors."""
        if self.bias is not None:
            if self.bias.grad is not None:
                self.bias.grad.copy_(grad[:, :, -1].reshape(-1))
            grad = grad[:, :, :-1]
        self.weight.grad.copy_(grad.reshape(self.weight.shape))


class RowLayer(Layer):
    """A layer that multiplies its weight with rows made from its input."""

    @abstractmethod
    def input_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Rows without the bias column: (blocks, columns, N, S)."""

    @abstractmethod
    def output_rows(self, g: torch.Tensor) -> torch.Tensor:
        """Output gradients as rows: (blocks, outputs, N, S)."""

    def input_moment(self, x: torch.Tensor) -> torch.Tensor:
        """Σ_n Σ_s ā āᵀ: (blocks, inputs, inputs)."""
        rows = self.input_rows(x).flatten(2)
        moment = rows @ rows.mT
        return moment if self.bias is None else with_bias(moment, rows.sum(2), rows.shape[2])

    def output_moment(self, g: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Σ_n Σ_s g gᵀ: (blocks, outputs, outputs), and its number of rows."""
        g = self.output_rows(g).flatten(2)
        return g @ g.mT, g.shape[2]

    def moments(
        self, inputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        if self.sharing == "reduce":
            return self._reduced(inputs, gradients)
        found = [(self.input_moment(x.to(self.dtype)), *self.output_moment(g.to(self.dtype))) for x, g in zip(
            inputs, gradients, strict=True
        )]  # fmt: skip
        return found[0] if len(found) == 1 else tuple(sum(parts) for parts in zip(*found, strict=True))

    def _reduced(self, inputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> tuple:
        rows = [self.input_rows(x.to(self.dtype)) for x in inputs]
        positions = sum(row.shape[3] for row in rows)
        mean = sum(row.sum(3) for row in rows) / positions  # â_n = 1/S Σ_s a_ns
        total = sum(self.output_rows(g.to(self.dtype)).sum(3) for g in gradients)  # ĝ_n = Σ_s g_ns
        moment = mean @ mean.mT
        if self.bias is not None:
            moment = with_bias(moment, mean.sum(2), mean.shape[2])
        return moment, total @ total.mT, mean.shape[2]


class LinearLayer(RowLayer):
    """y = x Wᵀ + b with x (N, …, in): dimensions between the first and the last are positions."""

    def _shape(self, module: nn.Linear) -> Shape:
        return Shape(1, module.in_features + (self.bias is not None), module.out_features)

    def input_rows(self, x: torch.Tensor) -> torch.Tensor:
        x = x if x.dim() > 1 else x[None]
        return x.reshape(1, len(x), -1, x.shape[-1]).permute(0, 3, 1, 2)

    output_rows = input_rows

    def input_moment(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        rows = rows if self.bias is None else nn.functional.pad(rows, (0, 1), value=1.0)
        return (rows.mT @ rows)[None]

    def output_moment(self, g: torch.Tensor) -> tuple[torch.Tensor, int]:
        rows = g.reshape(-1, g.shape[-1])
        return (rows.mT @ rows)[None], len(rows)


class ConvLayer(RowLayer):
    """Conv1d and Conv2d of any stride, dilation, padding mode and number of groups."""

    def _shape(self, module: nn.Conv1d | nn.Conv2d) -> Shape:
        self.geometry, self.spatial = Geometry.of(module), len(module.kernel_size)
        columns = self.weight[0].numel() + (self.bias is not None)
        return Shape(module.groups, columns, module.out_channels // module.groups)

    def _images(self, x: torch.Tensor) -> torch.Tensor:
        x = x if x.dim() == self.spatial + 2 else x[None]
        return x[:, :, None] if self.spatial == 1 else x

    def input_rows(self, x: torch.Tensor) -> torch.Tensor:
        return patches(self._images(x), self.geometry)

    def input_moment(self, x: torch.Tensor) -> torch.Tensor:
        return second_moment(self._images(x), self.geometry, self.bias is not None)

    def output_rows(self, g: torch.Tensor) -> torch.Tensor:
        g = self._images(g)
        return g.flatten(2).unflatten(1, (self.shape.blocks, self.shape.outputs)).permute(1, 2, 0, 3)


class EmbeddingLayer(Layer):
    """Rows of A are one-hot, so A is diagonal: how often each token came. The padding index is no row at all."""

    def _shape(self, module: nn.Embedding) -> Shape:
        if module.sparse or module.scale_grad_by_freq:
            raise ValueError(
                f"layer {self.name!r}: an Embedding with sparse=True or scale_grad_by_freq=True has other gradients "
                f"than K-FAC needs; turn that off, or leave the layer to the optimizer with skip=[{self.name!r}]"
            )
        return Shape(1, module.num_embeddings, module.embedding_dim, diagonal=True)

    def moments(
        self, inputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        left = right = rows = 0
        padding = self.modules[0].padding_idx
        for tokens, g in zip(inputs, gradients, strict=True):
            tokens, g = tokens.reshape(-1), g.to(self.dtype).reshape(-1, self.shape.outputs)
            real = torch.ones_like(tokens, dtype=self.dtype) if padding is None else (tokens != padding).to(self.dtype)
            counts = torch.zeros(self.shape.inputs, dtype=self.dtype, device=g.device)
            left = left + counts.index_add_(0, tokens, real)
            g = g * real[:, None]
            right, rows = right + (g.mT @ g)[None], rows + real.sum()
        return left[None], right, rows

    def gradient(self) -> torch.Tensor | None:
        return None if self.weight.grad is None else self.weight.grad.mT[None].to(self.dtype)

    def weights(self) -> torch.Tensor:
        return self.weight.detach().mT[None].to(self.dtype, copy=True)

    def write(self, grad: torch.Tensor) -> None:
        self.weight.grad.copy_(grad[0].mT)


KINDS: dict[type, type[Layer]] = {
    nn.Linear: LinearLayer, nn.Conv1d: ConvLayer, nn.Conv2d: ConvLayer, nn.Embedding: EmbeddingLayer,
}  # fmt: skip


def find_layers(
    model: nn.Module, skip: Iterable[str] = (), sharing: str | Mapping[str, str] = "expand"
) -> dict[str, Layer]:
    """Layers of `model` with a trainable weight, by name; modules that share a weight are one layer.

    `skip` holds names or patterns such as "head.*"; `sharing` is one of `SHARING` for all layers, or by pattern.

    Raises:
        ValueError: nothing is left to precondition, a layer's kind is known but not its options, a weight is shared by
            layers of different kinds, or `skip` or `sharing` names no layer.
    """
    found: dict[str, Layer] = {}
    owners: dict[int, Layer] = {}
    skip, unmatched = list(skip), set(skip)
    rules = {"*": sharing} if isinstance(sharing, str) else dict(sharing)
    if unknown := sorted(set(rules.values()) - set(SHARING)):
        raise ValueError(f"sharing must be 'expand' or 'reduce', got {unknown[0]!r}")
    for name, module in model.named_modules():
        kind = next((KINDS[known] for known in KINDS if isinstance(module, known)), None)
        hits = {pattern for pattern in skip if fnmatch.fnmatchcase(name, pattern)}
        unmatched -= hits
        if kind is None or hits or not module.weight.requires_grad:
            continue
        ways = [way for pattern, way in rules.items() if fnmatch.fnmatchcase(name, pattern)]
        layer = kind(name, module, ways[-1] if ways else "expand")
        owner = owners.setdefault(id(layer.weight), layer)
        if owner is layer:
            found[name] = layer
        elif type(owner) is type(layer) and owner.bias is layer.bias and owner.shape == layer.shape:
            owner.modules.append(module)
        else:
            raise ValueError(
                f"layers {owner.name!r} and {name!r} share a weight but are not alike; skip one, as in skip=[{name!r}]"
            )
    if unmatched:
        raise ValueError(f"skip={sorted(unmatched)[0]!r} matches no part of the model: see named_modules()")
    if not found:
        raise ValueError(
            f"{type(model).__name__} has nothing to precondition: no Linear, Conv1d, Conv2d or Embedding with a weight "
            "that requires a gradient is left; use the optimizer alone"
        )
    if any(isinstance(module, nn.MultiheadAttention) for module in model.modules()):
        warnings.warn(
            "torch's MultiheadAttention does not call its out_proj, so K-FAC leaves the attention's weights to the "
            "optimizer; write attention with Linear layers to precondition them",
            stacklevel=3,
        )
    return found
