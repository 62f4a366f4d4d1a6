"""Laws of the partitions: every row once, nobody empty, the seed alone decides."""

import numpy as np
import pytest

from scilab.datasets import digits
from scilab.federated import by_key, dirichlet, iid, indices, resample, shards

LABELS = digits().train[1].numpy()


@pytest.mark.parametrize(
    "partition", [iid(), dirichlet(0.5), dirichlet(0.01), dirichlet(1e-3), dirichlet(1e5), shards(1)]
)
@pytest.mark.parametrize("devices", [1, 2, 16, 256, 1437])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_goes_to_one_device_and_none_is_empty(partition, devices, seed):
    parts = partition(LABELS, devices, seed)
    assert len(parts) == devices and min(len(part) for part in parts) >= 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))
    again = partition(LABELS, devices, seed)
    assert all(np.array_equal(one, two) for one, two in zip(parts, again, strict=True))


@pytest.mark.parametrize("partition", [iid(), dirichlet(0.5), shards(2), resample(3)])
def test_another_seed_deals_otherwise_and_the_global_stream_plays_no_part(partition):
    np.random.seed(0)  # noqa: NPY002 (the point of this test)
    first = partition(LABELS, 16, 0)
    np.random.seed(1)  # noqa: NPY002
    second, third = partition(LABELS, 16, 0), partition(LABELS, 16, 1)
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(first, third, strict=True))


def test_iid_shares_differ_by_one_row_at_most():
    sizes = [len(part) for part in iid()(LABELS, 100, 0)]
    assert sorted(set(sizes)) == [14, 15] and sum(sizes) == 1437


def test_dirichlet_shares_have_the_variance_of_the_distribution():
    """Var of one class's share is (1/m)(1 - 1/m)/(m·alpha + 1) for m devices."""
    labels, devices = np.zeros(20_000, dtype=np.int64), 8
    for alpha in (0.5, 2.0, 20.0):
        shares = np.array([[len(part) / 20_000 for part in dirichlet(alpha)(labels, devices, s)] for s in range(200)])
        expected = (1 / devices) * (1 - 1 / devices) / (devices * alpha + 1)
        assert abs(shares.var() / expected - 1) < 0.15


def test_a_smaller_alpha_makes_devices_hold_fewer_classes():
    held = [
        np.mean([len(set(LABELS[part])) for part in dirichlet(alpha)(LABELS, 32, 0)]) for alpha in (0.05, 0.5, 50.0)
    ]
    assert held[0] < held[1] < held[2]


def test_impossible_shares_are_refused_with_both_numbers():
    for partition in (iid(), dirichlet(0.5)):
        with pytest.raises(ValueError, match="3 rows cannot be dealt to 4 devices"):
            partition(np.array([0, 1, 2]), 4, 0)
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha must be a positive number"):
            dirichlet(alpha)
    with pytest.raises(ValueError, match=r"whole-number labels \(n,\), got float64; use iid"):
        dirichlet(0.5)(np.array([0.5, 1.5]), 1, 0)


def test_shards_hold_as_many_classes_as_they_are_cut_from():
    """200 rows of each of ten classes, 20 shards of 100: two shards are of two classes at most."""
    labels = np.tile(np.arange(10), 200)
    parts = shards(2)(labels, 10, 3)
    assert [len(part) for part in parts] == [200] * 10
    assert max(len(set(labels[part])) for part in parts) == 2
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(2000))


def test_by_key_keeps_what_belongs_together():
    keys = np.array(["b", "a", "c", "a", "b", "b"])
    assert [part.tolist() for part in by_key(keys)(np.zeros(6), 3, 0)] == [[1, 3], [0, 4, 5], [2]]
    with pytest.raises(ValueError, match="there are 3 keys and 4 devices; take 3 devices"):
        by_key(keys)(np.zeros(6), 4, 0)
    with pytest.raises(ValueError, match=r"one key for each of 5 rows, got shape \(6,\)"):
        by_key(keys)(np.zeros(5), 3, 0)


def test_indices_are_those_given():
    parts = indices([[3, 1], (2,), np.array([1, 1])])(LABELS, 3, 0)
    assert [part.tolist() for part in parts] == [[3, 1], [2], [1, 1]]


def test_resample_draws_with_replacement_for_any_number_of_devices():
    parts = resample(8)(np.arange(4), 5000, 1)
    counts = np.bincount(np.concatenate(parts))
    assert len(parts) == 5000 and {len(part) for part in parts} == {8}
    assert np.abs(counts / 10_000 - 1).max() < 0.05  # 40,000 draws of four rows: a standard deviation is 0.9 %


def test_more_shards_than_rows_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="9 rows cannot be dealt to 10 shards"):
        shards(2)(np.arange(9), 5, 0)
    for make in (lambda: shards(0), lambda: resample(1.5)):
        with pytest.raises(ValueError, match="must be a whole number from 1"):
            make()
