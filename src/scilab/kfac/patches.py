"""The input of a convolution as its weight meets it: patches, and the sum of their outer products.

Patches are ordered as `weight.flatten(1)`: channel, then kernel row, then kernel column (KFC: R. Grosse & J. Martens,
"A Kronecker-factored approximate Fisher matrix for convolution layers", ICML 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

Sides = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A convolution over (height, width); `padding` is ((top, bottom), (left, right)), `mode` torch's padding mode."""

    kernel: Sides
    stride: Sides
    dilation: Sides
    padding: tuple[Sides, Sides]
    mode: str
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv1d | nn.Conv2d) -> Geometry:
        """Read it off a module; a Conv1d has height 1. ValueError for a padding that is not known."""
        one = isinstance(conv, nn.Conv1d)
        kernel, stride, dilation = (
            (1, *side) if one else tuple(side) for side in (conv.kernel_size, conv.stride, conv.dilation)
        )
        if conv.padding == "same":  # torch puts the odd one at the end
            totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            padding = tuple((total // 2, total - total // 2) for total in totals)
        else:
            sides = (0,) * len(conv.kernel_size) if conv.padding == "valid" else conv.padding
            padding = tuple((side, side) for side in ((0, *sides) if one else sides))
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        return cls(kernel, stride, dilation, padding, mode, conv.groups)

    def outputs(self, height: int, width: int) -> Sides:
        """Output positions (rows, columns) for an image that is not padded yet."""
        sizes = zip((height, width), self.kernel, self.stride, self.dilation, self.padding, strict=True)
        return tuple((size + sum(pad) - d * (k - 1) - 1) // s + 1 for size, k, s, d, pad in sizes)


def patches(images: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Rows that the weight is multiplied with, from images (N, C, H, W): shape (groups, C/groups·kh·kw, N, positions).

    One copy of strided memory, none before it.
    """
    (rows, columns), (kh, kw) = geometry.outputs(*images.shape[2:]), geometry.kernel
    images = _padded(images, geometry, (geometry.padding[0], geometry.padding[1]))
    count, channels, per = len(images), images.shape[1], images.shape[1] // geometry.groups
    n, c, h, w = images.stride()
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    view = images.as_strided(
        (geometry.groups, per, kh, kw, count, rows, columns), (per * c, c, h * dh, w * dw, n, h * sh, w * sw)
    )
    return view.reshape(geometry.groups, channels // geometry.groups * kh * kw, count, rows * columns)


def second_moment(images: torch.Tensor, geometry: Geometry, bias: bool) -> torch.Tensor:
    """Σ_n Σ_s ā_ns ā_nsᵀ of images (N, C, H, W), exactly: (groups, a, a), a = C/groups·kh·kw (+ 1 with `bias`).

    N·Ω of Grosse & Martens (2016); the homogeneous coordinate of the bias is 1 at every position.
    """
    if geometry.stride[0] == 1 and geometry.kernel[0] > 1:
        return _by_autocorrelation(images, geometry, bias)
    flat = patches(images, geometry).flatten(2)
    return with_bias(flat @ flat.mT, flat.sum(2), flat.shape[2]) if bias else flat @ flat.mT


def with_bias(moment: torch.Tensor, total: torch.Tensor, rows: float) -> torch.Tensor:
    """Append the bias coordinate to Σ a aᵀ (…, d, d), given Σ a (…, d) and the number of rows."""
    last = torch.cat([total, total.new_full((*total.shape[:-1], 1), rows)], dim=-1)
    return torch.cat([torch.cat([moment, total[..., None]], dim=-1), last[..., None, :]], dim=-2)


def _padded(images: torch.Tensor, geometry: Geometry, sides: tuple[Sides, Sides]) -> torch.Tensor:
    (top, bottom), (left, right) = sides
    if not (top or bottom or left or right):
        return images
    return functional.pad(images, (left, right, top, bottom), mode=geometry.mode)


def _by_autocorrelation(images: torch.Tensor, geometry: Geometry, bias: bool) -> torch.Tensor:
    """The same for row stride 1, without unfolding rows: patches of one row, correlated over row offsets.

    Block (u, v) of the kernel's rows is Σ_t x(t + u) x(t + v)ᵀ over the output rows t: of all pairs of rows at distance
    v - u, those that the window at u reaches. Pairs are shared by all (u, v) of one distance; the few rows that only
    some windows reach are products of their own. kh products of (kw·C)² replace one of (kh·kw·C)²: kh times less
    arithmetic and memory, and no term is subtracted. kfac-jax's `patches_second_moment` has the same idea.
    """
    (kh, kw), step, (top, _) = geometry.kernel, geometry.dilation[0], geometry.padding[0]
    rows, columns = geometry.outputs(*images.shape[2:])
    if geometry.mode == "constant":  # rows of zeros add nothing, so only the window needs to know of them
        images = _padded(images, geometry, ((0, 0), geometry.padding[1]))
    else:
        images, top = _padded(images, geometry, geometry.padding), 0
    count, channels, height, _ = images.shape
    n, c, h, w = images.stride()
    groups, per = geometry.groups, channels // geometry.groups
    view = images.as_strided(
        (groups, per, kw, height, count, columns), (per * c, c, w * geometry.dilation[1], h, n, w * geometry.stride[1])
    )
    line = count * columns
    flat = view.reshape(groups, per * kw, height * line)  # rows outermost: an offset of rows is a slice

    def product(begin: int, end: int, distance: int) -> torch.Tensor:
        first, second = (flat[:, :, row * line : (row + end - begin) * line] for row in (begin, begin + distance))
        return first @ second.mT

    result = flat.new_zeros(groups, per, kh, kw, per, kh, kw)
    for apart in range(kh):
        distance = apart * step
        # Of row pairs (r, r + distance) inside the image, those whose window position lies among the output rows.
        spans = [(max(0, u * step - top), min(height - distance, u * step - top + rows)) for u in range(kh - apart)]
        spans = [(begin, max(begin, end)) for begin, end in spans]
        low, high = max(begin for begin, _ in spans), min(end for _, end in spans)
        shared, known = product(low, high, distance) if low < high else None, {}
        for u, (begin, end) in enumerate(spans):
            pieces = [(begin, low), (high, end)] if shared is not None else [(begin, end)]
            block = flat.new_zeros(groups, per * kw, per * kw) if shared is None else shared
            for piece in (piece for piece in pieces if piece[0] < piece[1]):
                if piece not in known:
                    known[piece] = product(*piece, distance)
                block = block + known[piece]
            block = block.view(groups, per, kw, per, kw)
            result[:, :, u, :, :, u + apart] = block
            if apart:
                result[:, :, u + apart, :, :, u] = block.permute(0, 3, 4, 1, 2)
    size = per * kh * kw
    result = result.view(groups, size, size)
    if not bias:
        return result
    sums = flat.view(groups, per, kw, height, line).sum(-1)
    windows = [sums[..., max(0, u * step - top) : max(0, u * step - top + rows)].sum(-1) for u in range(kh)]
    return with_bias(result, torch.stack(windows, dim=2).reshape(groups, size), count * rows * columns)
