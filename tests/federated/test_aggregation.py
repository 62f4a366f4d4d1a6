"""Sums that are exact: any grouping, any order, the same bits; and close to the mean in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from scilab.federated.aggregation import WeightedSum
from scilab.federated.versions import BUFFER_ROOM, PARAMETER_ROOM, Version, pack, tensors_of, unpack


def _version():
    return Version.of(
        [nn.Parameter(torch.linspace(-3, 3, 7)), nn.Parameter(torch.zeros(2, 2)), torch.ones(3), torch.tensor(4)]
    )


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


def _tree(version, capacity, updates, rng):
    """Fold the updates over a random tree."""
    nodes = []
    for flats, samples in updates:
        leaf = WeightedSum(version, capacity)
        leaf.add(flats, samples)
        nodes.append(leaf)
    while len(nodes) > 1:
        rng.shuffle(nodes)
        take = int(rng.integers(1, 5))
        parent = WeightedSum(version, capacity)
        for child in nodes[:take]:
            parent.merge(child.sums)
        nodes = [*nodes[take:], parent]
    return nodes[0]


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_and_any_order_give_the_same_bits(seed):
    rng, version, updates = np.random.default_rng(seed), _version(), _updates(23, seed)
    capacity = sum(samples for _, samples in updates) + int(rng.integers(500))
    flat = WeightedSum(version, capacity)
    for flats, samples in updates:
        flat.add(flats, samples)
    arrived = sum(samples for _, samples in updates)
    for _ in range(5):
        tree = _tree(version, capacity, [updates[i] for i in rng.permutation(23)], rng)
        for one, two in zip(flat.mean(arrived), tree.mean(arrived), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("seed", range(5))
def test_means_are_those_of_exact_arithmetic(seed):
    version, updates = _version(), _updates(23, seed)
    total = sum(samples for _, samples in updates)
    flat = WeightedSum(version, total)
    for flats, samples in updates:
        flat.add(flats, samples)
    mean, largest = flat.mean(total)
    bounds = [b for size, b in zip(version.sizes[0], version.bounds[0], strict=True) for _ in range(size)]
    for element, bound in enumerate(bounds):
        exact = sum(Fraction(float(flats[0][element])) * samples for flats, samples in updates) / total
        error = abs(Fraction(float(mean[element])) - exact)
        assert error <= 23 * Fraction(2) ** (bound - 63) + abs(exact) * Fraction(1, 2**24)
    assert int(largest) == max(int(flats[1]) for flats, _ in updates)


def test_the_largest_values_allowed_do_not_overflow():
    version = _version()
    extreme = [
        torch.tensor([2.0 ** version.bounds[0][0]] * 7 + [2.0**PARAMETER_ROOM] * 4 + [2.0 ** (BUFFER_ROOM + 1)] * 3),
        torch.tensor([1]),
    ]
    version.check(extreme, "abcd")
    for capacity in (1, 2, 1000, 1437, 1 << 20):
        for sign in (1.0, -1.0):
            total = WeightedSum(version, capacity)
            for samples in (capacity // 2, capacity - capacity // 2):
                if samples:
                    total.add([extreme[0] * sign, extreme[1]], samples)
            assert torch.equal(total.mean(capacity)[0], extreme[0] * sign)


def test_divergence_is_named():
    version, good = _version(), pack([torch.zeros(14), torch.tensor(1)])
    for value in (float("nan"), float("inf"), 2.0**PARAMETER_ROOM * 1.01):
        bad = [good[0].clone(), good[1]]
        bad[0][8] = value
        with pytest.raises(FloatingPointError, match=r"training diverged: second reached .*; lower lr"):
            version.check(bad, ["first", "second", "third", "fourth"])
    version.check(good, ["first", "second", "third", "fourth"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_comes_back_as_itself(dtype):
    version = Version.of([nn.Parameter(torch.tensor([0.5, -0.25], dtype=dtype))])
    total = WeightedSum(version, 3)
    total.add([torch.tensor([1.0, 2.0], dtype=dtype)], 1)
    total.add([torch.tensor([4.0, 0.5], dtype=dtype)], 2)
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
    unpack(flats, tensors.values())
    assert all(torch.equal(tensors[name], before[name]) for name in before)
