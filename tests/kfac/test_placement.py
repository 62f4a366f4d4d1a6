"""KAISA's grid, layers spread by cost, and where each size is decomposed: all without a second process."""

import itertools

import pytest
import torch
from torch import nn

from scilab.kfac import KFAC, Shape, place, sites
from scilab.kfac.placement import cost, eigh_ms

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("ranks, workers", [(1, 1), (4, 2), (6, 3), (8, 1), (8, 2), (8, 8), (12, 4)])
def test_rows_and_columns_are_a_grid(ranks, workers):
    """KAISA, section 3: g gradient workers a layer, each sends its result to the p/g ranks of its row."""
    layers = {f"layer{number}": float(number % 5 + 1) for number in range(23)}
    grid = place(layers, ranks, workers / ranks)
    for rank in range(ranks):
        column, row = grid.column(rank), grid.row(rank)
        assert len(column) == workers and len(row) == ranks // workers
        assert set(column) & set(row) == {rank}
        assert all(grid.column(other) == column for other in column) and all(grid.row(other) == row for other in row)
        # A row sees every layer once, from the one of its ranks that holds the decomposition.
        assert sorted(name for other in row for name in grid.preconditions(other)) == sorted(layers)
        assert set(grid.owned(rank)) <= set(grid.preconditions(rank))
    for name, owner in grid.owners.items():
        assert [rank for rank in range(ranks) if name in grid.preconditions(rank)] == grid.column(owner)
    assert sorted(name for rank in range(ranks) for name in grid.owned(rank)) == sorted(layers)


@pytest.mark.parametrize("fraction", [0.3, 0, 2, 0.75, None, "half"])
def test_a_fraction_that_makes_no_grid_is_refused_with_those_that_do(fraction):
    with pytest.raises(ValueError, match=r"with 4 ranks it must be one of 1/4, 2/4, 1: a whole number of gradient"):
        place({"a": 1.0}, 4, fraction)


def test_longest_first_is_within_its_bound_of_the_best_there_is():
    """R. L. Graham 1969: at most 4/3 - 1/(3 m) of the optimum, here found by trying every assignment."""
    generator = torch.Generator().manual_seed(3)
    for ranks in (2, 3):
        for _ in range(10):
            costs = {str(n): float(c) for n, c in enumerate(torch.rand(7, generator=generator))}

            def longest(owners, costs=costs, ranks=ranks):
                return max(sum(c for c, o in zip(costs.values(), owners, strict=True) if o == r) for r in range(ranks))

            best = min(longest(owners) for owners in itertools.product(range(ranks), repeat=len(costs)))
            found = longest(list(place(costs, ranks, 1.0).owners.values()))
            assert best <= found <= (4 / 3 - 1 / (3 * ranks)) * best + 1e-12


def test_resnet_8_has_the_known_shares():
    """By n³ one layer has 77 % of the work, so over 4 ranks it is 0.77, 0.10, 0.10, 0.04 at best."""
    sizes = [(27, 16), (144, 16), (144, 16), (144, 32), (288, 32), (16, 32), (288, 64), (576, 64), (32, 64), (65, 10)]
    costs = {str(number): float(a**3 + o**3) for number, (a, o) in enumerate(sizes)}
    grid = place(costs, 4, 0.25)
    shares = [sum(costs[name] for name in grid.owned(rank)) / sum(costs.values()) for rank in range(4)]
    assert sorted(round(share, 2) for share in shares) == [0.04, 0.1, 0.1, 0.77]


def test_estimates_count_blocks_and_leave_diagonals_out():
    assert cost(Shape(3, 9, 4)) == 3 * (eigh_ms(9) + eigh_ms(4))
    assert cost(Shape(1, 1000, 4, diagonal=True)) == eigh_ms(4)


class Clock:
    """Milliseconds by size, at home (a device that is slow with small sizes) and on the CPU; counts its readings."""

    def __init__(self):
        self.readings = []

    def __call__(self, size, dtype, home, site):
        self.readings.append((size, site.type))
        return 0.01 * size**2 if site == CPU else 5.0


def test_each_size_is_measured_once_and_done_where_it_is_fastest(monkeypatch):
    monkeypatch.setattr(sites, "_measured", {})
    clock = Clock()
    chosen = [sites.fastest(size, torch.float32, ELSEWHERE, clock) for size in (10, 100, 10, 100)]
    assert chosen == [(CPU, 1.0), (ELSEWHERE, 5.0)] * 2
    assert clock.readings == [(10, "meta"), (10, "cpu"), (100, "meta"), (100, "cpu")]
    assert sites.fastest(4000, torch.float32, ELSEWHERE, clock) == (ELSEWHERE, 5.0)
    assert clock.readings[-1] == (4000, "meta")  # where the estimate leaves no doubt the CPU is spared seconds
    assert sites.fastest(100, torch.float32, CPU, clock) == (CPU, None)


def test_a_device_without_eigh_leaves_it_to_the_cpu(monkeypatch):
    monkeypatch.setattr(sites, "_measured", {})

    def clock(size, dtype, home, site):
        raise NotImplementedError("no eigh here")

    assert sites.fastest(10, torch.float32, ELSEWHERE, clock) == (CPU, None)


def test_layers_are_spread_by_the_costs_that_were_measured(monkeypatch):
    monkeypatch.setattr(sites, "_measured", {})
    shapes = {"one": Shape(2, 10, 20), "two": Shape(1, 50, 10, diagonal=True)}
    assert sites.measured_costs(shapes, torch.float32, CPU, Clock()) == {"one": 2 * (1.0 + 4.0), "two": 1.0}
    assert sites.measure(8, torch.float32, CPU, CPU) > 0
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with KFAC(model, likelihood="gaussian", costs={"0": 1.0, "1": 2.0}) as kfac:
        assert set(kfac.placement.owners) == {"0", "1"}
    for bad in ("guessed", {"0": 1.0}):
        with pytest.raises(ValueError, match="costs must be None, 'measured' or milliseconds for each of 0, 1"):
            KFAC(model, likelihood="gaussian", costs=bad)
