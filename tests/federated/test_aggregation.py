"""Sums that are exact: any grouping, any order, the same bits; and close to the mean in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from scilab.federated.aggregation import WeightedSum
from scilab.federated.layout import BUFFER_ROOM, PARAMETER_ROOM, Layout, pack, tensors_of


class Model(nn.Module):
    """Seven parameters up to 3, four of zero, a buffer of ones, an integer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.linspace(-3, 3, 7))
        self.second = nn.Parameter(torch.zeros(2, 2))
        self.register_buffer("third", torch.ones(3))
        self.register_buffer("fourth", torch.tensor(4))


LAYOUT = Layout(Model())
VERSION = pack(tensors_of(Model()).values())


def _sum(capacity):
    return WeightedSum(LAYOUT, VERSION, capacity)


def _updates(count, seed, scale=1.0):
    """Updates whose elements span twelve orders of magnitude."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        values = rng.normal(size=14) * 10.0 ** rng.integers(-9, 3, size=14) * scale
        made.append(
            (
                [torch.tensor(values, dtype=torch.float32), torch.tensor([int(rng.integers(50))])],
                int(rng.integers(1, 400)),
            )
        )
    return made


def _tree(capacity, updates, rng):
    """Fold the updates over a random tree."""
    nodes = []
    for flats, samples in updates:
        leaf = _sum(capacity)
        leaf.add([flat.unsqueeze(0) for flat in flats], [samples])
        nodes.append(leaf)
    while len(nodes) > 1:
        rng.shuffle(nodes)
        take = int(rng.integers(1, 5))
        parent = _sum(capacity)
        for child in nodes[:take]:
            parent.merge(child.sums)
        nodes = [*nodes[take:], parent]
    return nodes[0]


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_and_any_order_give_the_same_bits(seed):
    rng, updates = np.random.default_rng(seed), _updates(23, seed)
    capacity = sum(samples for _, samples in updates) + int(rng.integers(500))
    flat = _sum(capacity)
    flat.add(
        [torch.stack(same) for same in zip(*(flats for flats, _ in updates), strict=True)], [n for _, n in updates]
    )
    arrived = sum(samples for _, samples in updates)
    for _ in range(5):
        tree = _tree(capacity, [updates[i] for i in rng.permutation(23)], rng)
        for one, two in zip(flat.mean(arrived), tree.mean(arrived), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("seed", range(5))
def test_means_are_those_of_exact_arithmetic(seed):
    updates = _updates(23, seed)
    total = sum(samples for _, samples in updates)
    flat = _sum(total)
    for flats, samples in updates:
        flat.add([part.unsqueeze(0) for part in flats], [samples])
    mean, largest = flat.mean(total)
    bounds = [b for size, b in zip(LAYOUT.sizes[0], LAYOUT.bounds(VERSION)[0], strict=True) for _ in range(size)]
    for element, bound in enumerate(bounds):
        exact = sum(Fraction(float(flats[0][element])) * samples for flats, samples in updates) / total
        error = abs(Fraction(float(mean[element])) - exact)
        assert error <= 23 * Fraction(2) ** (bound - 62) + abs(exact) * Fraction(1, 2**24)
    assert int(largest) == max(int(flats[1]) for flats, _ in updates)


def test_products_are_rounded_to_the_nearest_quantum():
    """For one sample of a parameter below 1 the quantum is 2^(20 - 62)."""
    layout = Layout(nn.Linear(3, 1, bias=False))
    total = WeightedSum(layout, [torch.zeros(3)], 1)
    total.add([torch.tensor([[0.75, 0.25, -0.75]]) * 2.0**-42], [1])
    assert (total.mean(1)[0] * 2.0**42).tolist() == [1.0, 0.0, -1.0]


def test_the_largest_values_allowed_do_not_overflow():
    bounds = LAYOUT.bounds(VERSION)
    assert bounds[0] == [PARAMETER_ROOM + 2, PARAMETER_ROOM, BUFFER_ROOM + 1]
    extreme = torch.cat(
        [torch.full((size,), 2.0**bound) for size, bound in zip(LAYOUT.sizes[0], bounds[0], strict=True)]
    )
    LAYOUT.check([extreme, torch.tensor([1])], bounds)
    for capacity in (1, 2, 1000, 1437, 1 << 20):
        for sign in (1.0, -1.0):
            total = _sum(capacity)
            for samples in (capacity // 2, capacity - capacity // 2):
                if samples:
                    total.add([extreme[None] * sign, torch.tensor([[1]])], [samples])
            assert torch.equal(total.mean(capacity)[0], extreme * sign)


def test_divergence_and_changed_shapes_are_named():
    bounds = LAYOUT.bounds(VERSION)
    LAYOUT.check(VERSION, bounds)
    for value in (float("nan"), float("inf"), 2.0**PARAMETER_ROOM * 1.01):
        bad = [VERSION[0].clone(), VERSION[1]]
        bad[0][8] = value
        with pytest.raises(ArithmeticError, match=r"training diverged: second reached .*; lower lr"):
            LAYOUT.check(bad, bounds)
    for bad in ([VERSION[0]], [VERSION[0][1:], VERSION[1]], [VERSION[0].double(), VERSION[1]]):
        with pytest.raises(ValueError, match="changed the number, type or shape of its tensors"):
            LAYOUT.check(bad, bounds)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_comes_back_as_itself(dtype):
    model = nn.Linear(2, 1, bias=False, dtype=dtype)
    total = WeightedSum(Layout(model), pack(model.parameters()), 3)
    total.add([torch.tensor([[1.0, 2.0], [4.0, 0.5]], dtype=dtype)], [1, 2])
    assert torch.equal(total.mean(3)[0], torch.tensor([3.0, 1.0], dtype=dtype))


def test_pack_and_unpack_are_inverse_and_tied_tensors_travel_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    tensors = tensors_of(model)
    assert [name for name in tensors if "weight" in name] == ["0.weight", "1.weight"]
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    flats = pack(tensors.values())
    assert [flat.dtype for flat in flats] == [torch.float32, torch.int64]
    assert len(flats[0]) == 9 + 3 + 3 + 3 + 3 + 3 + 3
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.zero_()
    Layout(model).unpack(flats)
    assert all(torch.equal(tensors[name], before[name]) for name in before)


def test_a_buffer_that_forward_replaces_is_not_lost():
    class Replacing(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self):
            self.count = self.count + 1

    model = Replacing()
    layout = Layout(model)
    model()
    assert pack(layout.tensors())[0].tolist() == [1.0]
    layout.unpack([torch.tensor([5.0])])
    model()
    assert pack(layout.tensors())[0].tolist() == [6.0]
