"""Running averages of the factors, kept as packed triangles of sums and the counts that divide them."""

from __future__ import annotations

from functools import lru_cache

import torch

from .layers import Shape


def triangle(size: int) -> int:
    """Numbers in a triangle of a symmetric (size, size) matrix, diagonal included."""
    return size * (size + 1) // 2


def lengths(shape: Shape) -> tuple[int, int]:
    """Numbers that a layer's packed A and G take."""
    left = shape.inputs if shape.diagonal else triangle(shape.inputs)
    return shape.blocks * left, shape.blocks * triangle(shape.outputs)


def packed_length(shape: Shape) -> int:
    """Length of a layer's vector: A's triangles, G's triangles, loss terms, rows."""
    return sum(lengths(shape)) + 2


def pack(
    left: torch.Tensor, right: torch.Tensor, terms: float, rows: torch.Tensor | float, shape: Shape
) -> torch.Tensor:  # fmt: skip
    """One vector (packed_length,) of Σ ā āᵀ, Σ g gᵀ and what each will be divided by; all zero if any is not finite."""
    left = left.reshape(-1) if shape.diagonal else _lower(left).reshape(-1)
    counts = [torch.full((1,), n, dtype=left.dtype, device=left.device) if isinstance(n, int | float) else n.view(1)
              for n in (terms, rows)]  # fmt: skip
    vector = torch.cat([left, _lower(right).reshape(-1), *counts])
    total = vector.sum()
    return torch.where(total - total == 0, vector, 0.0)  # NaN and infinity are not; no host synchronisation


def absent(terms: float, shape: Shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Such a vector of `terms` loss terms with gradients of zero, because nothing went through the layer."""
    vector = torch.zeros(packed_length(shape), dtype=dtype, device=device)
    vector[-2] = terms
    return vector


def unpack(vector: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(A, G) from such a vector: A = Σ ā āᵀ / loss terms, G = Σ g gᵀ / rows; None if it has counted nothing.

    With one loss term per example these are A and G of Martens & Grosse (2015), section 3, for a linear layer, and
    Ω and Γ of Grosse & Martens (2016) for a convolution: A = 1/N Σ_n Σ_s, G = 1/(N S) Σ_n Σ_s. In general A ⊗ G is
    1/terms · 1/rows · Σ ā āᵀ ⊗ Σ g gᵀ, the "expand" or "reduce" approximation of the Fisher of the mean loss.
    """
    left_length, right_length = lengths(shape)
    left, right, counts = vector.split([left_length, right_length, 2])
    terms, rows = counts.tolist()
    if not (terms > 0 and rows > 0):
        return None
    left = left.view(shape.blocks, -1)
    left = left if shape.diagonal else _full(left, shape.inputs)
    return left / terms, _full(right.view(shape.blocks, -1), shape.outputs) / rows


def advance(average: torch.Tensor | None, new: torch.Tensor, decay: float) -> torch.Tensor:
    """ε · average + (1 - ε) · new, in place where there is an average; starts from zero.

    Sums and counts decay alike, so their quotient is the bias-corrected average over steps (Martens & Grosse
    2015, section 5, without a start value), weighted by examples; and it is linear: averages of ranks may be added up.
    """
    return new * (1 - decay) if average is None else average.lerp_(new, 1 - decay)


CACHED = 128
"""Index maps of matrices up to this size are kept, at most 128 KiB each: there the map would cost more than its use."""


def _lower(matrix: torch.Tensor) -> torch.Tensor:
    size = matrix.shape[-1]
    index = (_kept if size <= CACHED else _indices)(size, matrix.device)[0]
    return matrix.flatten(-2).index_select(-1, index)


def _full(packed: torch.Tensor, size: int) -> torch.Tensor:
    index = (_kept if size <= CACHED else _indices)(size, packed.device)[1]
    return packed.index_select(-1, index).unflatten(-1, (size, size))


def _indices(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of the lower triangle, row by row, in a flat matrix; places of all its numbers in that triangle."""
    rows, columns = torch.tril_indices(size, size, device=device)
    every = torch.arange(size, device=device)
    low, high = torch.minimum(every[:, None], every), torch.maximum(every[:, None], every)
    return rows * size + columns, (high * (high + 1) // 2 + low).flatten()


_kept = lru_cache(maxsize=256)(_indices)
