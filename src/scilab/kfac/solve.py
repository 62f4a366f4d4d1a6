"""From factors to preconditioned gradients: damped solves of A ⊗ G by eigendecomposition or by factored inverses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .layers import Shape
from .sites import fastest

METHODS = ("eigen", "inverse")
PROBE = 1e-3
"""A basis whose Qᵀ(Q w) differs from w by more than this, relative to the largest of w, is not used."""


@dataclass(frozen=True)
class Basis:
    """What a layer's decomposition leaves: for "eigen" Q_A, d_A, Q_G, d_G; for "inverse" A⁻¹, G⁻¹ (no d).

    Matrices are (blocks, n, n) in the storage dtype, spectra (blocks, n) in the factors' dtype. A diagonal A has no
    Q_A, and its inverse is a vector.
    """

    left: torch.Tensor | None
    left_values: torch.Tensor | None
    right: torch.Tensor
    right_values: torch.Tensor | None

    def __post_init__(self) -> None:
        parts = (self.left, self.left_values, self.right, self.right_values)
        if len(self.right) == 1:  # products of matrices cost less than those of a batch of one
            parts = tuple(None if part is None else part[0] for part in parts)
        object.__setattr__(self, "_parts", parts)

    def tensors(self) -> list[torch.Tensor]:
        """All there is, in a fixed order."""
        return [t for t in (self.left, self.left_values, self.right, self.right_values) if t is not None]

    def solve(self, grad: torch.Tensor, damping: float) -> torch.Tensor:
        """V for a gradient (blocks, outputs, inputs), computed in the gradient's dtype.

        eigen: Q_G [(Q_Gᵀ ∇ Q_A) / (d_G d_Aᵀ + λ)] Q_Aᵀ, the exact solve of (A ⊗ G + λ I) vec V = vec ∇ (Grosse &
        Martens 2016; the inverse-free evaluation of J. G. Pauloski et al., SC20). inverse: G⁻¹ ∇ A⁻¹
        with the damping that went into them (Martens & Grosse 2015, section 6.3).
        """
        parts = self._parts
        if self.right.dtype != grad.dtype:
            parts = [None if part is None else part.to(grad.dtype) for part in parts]
        return _solved(grad, damping, *parts) if len(grad) > 1 else _solved(grad[0], damping, *parts)[None]


def _solved(
    grad: torch.Tensor, damping: float, left: torch.Tensor | None, left_values: torch.Tensor | None,
    right: torch.Tensor, right_values: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    if right_values is None:
        solved = right @ grad
        return solved * left[..., None, :] if left.dim() < right.dim() else solved @ left
    turned = right.mT @ grad
    turned = turned if left is None else turned @ left
    turned /= (right_values[..., :, None] * left_values[..., None, :]).add_(damping)
    turned = right @ turned
    return turned if left is None else turned @ left.mT


def decompose(
    factors: tuple[torch.Tensor, torch.Tensor], shape: Shape, method: str, damping: float, old: Basis | None,
    storage: torch.dtype | None, tolerance: float | None, tell: Callable[[str], None],
) -> Basis | None:  # fmt: skip
    """The basis of (A, G); `old`, told by `tell`, where nothing could be decomposed."""
    left, right = factors
    if method == "inverse":
        found = _inverses(left, right, damping)
    else:
        known = (None, None) if old is None else (old.left, old.right)
        values = (left.clamp(min=0), None) if shape.diagonal else eigh(left, known[0], tolerance)
        found = None
        if values is not None and (others := eigh(right, known[1], tolerance)) is not None:
            found = Basis(values[1], values[0], others[1], others[0])
    if found is None:
        tell("its factors could not be decomposed on any device; the last decomposition stays in use")
        return old
    if storage is None:
        return found
    left, right = (None if matrix is None else matrix.to(storage) for matrix in (found.left, found.right))
    return Basis(left, found.left_values, right, found.right_values)


def eigh(
    matrix: torch.Tensor, old: torch.Tensor | None = None, tolerance: float | None = None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(eigenvalues clamped at 0, eigenvectors) of symmetric matrices (blocks, n, n); None if nothing helps.

    Tries in the matrix's own precision where that is fastest for its size, in float64 on its device, in float64 on the
    CPU. With a `tolerance`, an `old` basis Q is kept
    with new eigenvalues diag(B) while ‖B - diag B‖ ≤ tolerance · ‖B‖, B = Qᵀ matrix Q (as Distributed Shampoo does).
    """
    if tolerance is not None and old is not None:
        basis = old.to(matrix.dtype)
        rotated = basis.mT @ matrix @ basis
        values = rotated.diagonal(dim1=-2, dim2=-1)
        off = (rotated.square().sum((-2, -1)) - values.square().sum(-1)).clamp(min=0).sqrt()
        if bool((off <= tolerance * torch.linalg.matrix_norm(rotated)).all()):
            return values.clamp(min=0), basis
    site, _ = fastest(matrix.shape[-1], matrix.dtype, matrix.device)
    for device, dtype in ((site, matrix.dtype), (matrix.device, torch.float64), ("cpu", torch.float64)):
        try:
            values, vectors = torch.linalg.eigh(matrix.to(device, dtype))
        except RuntimeError:  # torch.linalg.LinAlgError is one; so is a device without this precision
            continue
        if _orthonormal(values, vectors):
            # One memory layout wherever a basis comes from, as products of others round differently.
            return values.clamp(min=0).to(matrix), vectors.to(matrix).contiguous()
    return None


def _orthonormal(values: torch.Tensor, vectors: torch.Tensor) -> bool:
    """Whether Qᵀ Q w = w for one w, and all is finite: (blocks, n), (blocks, n, n)."""
    size = vectors.shape[-1]
    probe = torch.arange(1.0, size + 1, dtype=vectors.dtype, device=vectors.device)[:, None]
    error = (vectors.mT @ (vectors @ probe)).sub_(probe).abs_().amax()
    return bool(error + 0 * values.sum() <= PROBE * size)  # False for NaN


def _inverses(left: torch.Tensor, right: torch.Tensor, damping: float) -> Basis | None:
    """(A + π √λ I)⁻¹ and (G + √λ/π I)⁻¹, π² = (tr A / dim A) / (tr G / dim G) (Martens & Grosse 2015, section 6.3)."""
    diagonal = left.dim() == 2
    mean_left = (left if diagonal else left.diagonal(dim1=-2, dim2=-1)).mean(-1)
    mean_right = right.diagonal(dim1=-2, dim2=-1).mean(-1)
    ratio = (mean_left / mean_right).sqrt()
    ratio = torch.where((mean_left > 0) & (mean_right > 0), ratio, torch.ones_like(ratio))  # a zero factor has no π
    root = damping**0.5
    inverse_right = _inverse(right, root / ratio)
    inverse_left = 1 / (left + root * ratio[:, None]) if diagonal else _inverse(left, root * ratio)
    if inverse_left is None or inverse_right is None or not bool(inverse_left.isfinite().all()):
        return None
    return Basis(inverse_left, None, inverse_right, None)


def _inverse(matrix: torch.Tensor, shift: torch.Tensor) -> torch.Tensor | None:
    shifted = matrix + shift[:, None, None] * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for device, dtype in ((matrix.device, matrix.dtype), (matrix.device, torch.float64), ("cpu", torch.float64)):
        try:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(shifted.to(device, dtype)))
        except RuntimeError:
            continue
        if bool(inverse.isfinite().all()):
            return inverse.to(matrix).contiguous()
    return None
