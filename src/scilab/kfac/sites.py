"""Where a decomposition is fastest, by size: measured once, the first time a size is met.

A GPU is slow at small eigenproblems, and from which size on it pays differs by model of GPU and version of torch by
orders of magnitude, so no table would be right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist

from .layers import Shape
from .placement import eigh_ms

CPU = torch.device("cpu")
SURE = 4.0
"""The CPU is not tried if the GPU needs less than the CPU's estimated time divided by this."""

_measured: dict[tuple[int, torch.dtype, str], float] = {}


def measure(size: int, dtype: torch.dtype, home: torch.device, site: torch.device) -> float:
    """Milliseconds of one eigendecomposition at `site` of a matrix (size, size) that lives at `home`, copies included;
    the second of two.
    """
    matrix = torch.randn(size, size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    matrix = (matrix @ matrix.T / size).to(home)
    for _ in range(2):
        if home.type == "cuda":
            torch.cuda.synchronize(home)
        began = time.perf_counter()
        for part in torch.linalg.eigh(matrix.to(site)):
            part.to(home)
        if home.type == "cuda":
            torch.cuda.synchronize(home)
    return 1e3 * (time.perf_counter() - began)


def known_ms(
    size: int, dtype: torch.dtype, home: torch.device, site: torch.device, clock: Callable[..., float] = measure
) -> float:
    """The same, from memory where it was measured before in this process."""
    key = (size, dtype, f"{home}>{site}")
    if key not in _measured:
        _measured[key] = clock(size, dtype, home, site)
    return _measured[key]


def fastest(
    size: int, dtype: torch.dtype, home: torch.device, clock: Callable[..., float] = measure
) -> tuple[torch.device, float | None]:
    """(device, milliseconds) for a matrix that lives at `home`. On the CPU nothing is measured: there is no choice."""
    if home.type == "cpu":
        return CPU, None
    try:
        there = known_ms(size, dtype, home, home, clock)
    except RuntimeError:  # a device that has no eigh
        return CPU, None
    if there < eigh_ms(size) / SURE:
        return home, there
    here = known_ms(size, dtype, home, CPU, clock)
    return (CPU, here) if here < there else (home, there)


def measured_costs(
    shapes: Mapping[str, Shape], dtype: torch.dtype, home: torch.device, clock: Callable[..., float] = measure
) -> dict[str, float]:
    """Milliseconds to decompose each layer's factors at `home`'s fastest site: costs for `placement.place`."""

    def one(size: int) -> float:
        site, found = fastest(size, dtype, home, clock)
        return known_ms(size, dtype, home, site, clock) if found is None else found

    return {
        name: shape.blocks * ((0.0 if shape.diagonal else one(shape.inputs)) + one(shape.outputs))
        for name, shape in shapes.items()
    }


def agreed_costs(
    costs: Mapping[str, float] | str | None, shapes: Mapping[str, Shape], dtype: torch.dtype, home: torch.device,
    group: dist.ProcessGroup | None,
) -> Mapping[str, float] | None:  # fmt: skip
    """`costs` as `KFAC` takes them; those of rank 0's clock on all ranks, or they would find different placements."""
    if costs == "measured":
        measured = [measured_costs(shapes, dtype, home)]
        if group is not None:
            dist.broadcast_object_list(measured, group=group, group_src=0)
        return measured[0]
    if costs is not None and (isinstance(costs, str) or set(costs) != set(shapes)):
        raise ValueError(
            f"costs must be None, 'measured' or milliseconds for each of {', '.join(shapes)}; got {costs!r}"
        )
    return costs
