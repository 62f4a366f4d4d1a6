"""Running averages of the factors, kept as packed triangles of sums and the counts that divide them."""

from __future__ import annotations

import torch

from .capture import Sums
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


def pack(sums: Sums, shape: Shape) -> torch.Tensor:
    """One vector (packed_length,) of everything a factor step has gathered of a layer that something went through."""
    left = sums.left if shape.diagonal else _lower(sums.left)
    return torch.cat([left.reshape(-1), _lower(sums.right).reshape(-1), sums.terms[None], sums.rows[None]])


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


def _lower(matrix: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.tril_indices(*matrix.shape[-2:], device=matrix.device)
    return matrix[..., rows, columns]


def _full(packed: torch.Tensor, size: int) -> torch.Tensor:
    rows, columns = torch.tril_indices(size, size, device=packed.device)
    full = packed.new_empty(*packed.shape[:-1], size, size)
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full
