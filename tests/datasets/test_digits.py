"""The embedded digits, checked against the file scikit-learn distributes."""

import hashlib
from importlib.resources import files

import numpy as np
import torch

from scilab.datasets import digits

# SHA-256 of scikit-learn's digits.csv once unpacked (version 1.9.1; unchanged for years)
SKLEARN_CSV = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"


def test_rows_rebuild_the_file_scikit_learn_distributes():
    split = digits()
    images = torch.cat([split.train[0], split.test[0]]).mul(16).to(torch.int64).flatten(1)
    labels = torch.cat([split.train[1], split.test[1]])
    rows = np.load(files("scilab.datasets") / "digits.npz")["rows"]
    lines = [""] * 1797
    for row, image, label in zip(rows, images.tolist(), labels.tolist(), strict=True):
        lines[row] = ",".join(map(str, [*image, label])) + "\n"
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == SKLEARN_CSV


def test_split_is_the_stratified_one_and_values_fill_the_unit_interval():
    split = digits()
    assert [len(split.train[1]), len(split.test[1])] == [1437, 360]
    # class counts published in scikit-learn's description of the data
    both = torch.cat([split.train[1], split.test[1]]).bincount().tolist()
    assert both == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert all(
        abs(part - whole * 0.2) <= 1 for part, whole in zip(split.test[1].bincount().tolist(), both, strict=True)
    )
    assert split.train[0].dtype == torch.float32 and split.train[1].dtype == torch.int64
    assert (float(split.train[0].min()), float(split.train[0].max())) == (0.0, 1.0)
    assert split.classes == tuple("0123456789") and split.shape == (1, 8, 8)


def test_changing_one_copy_leaves_the_next_untouched():
    first = digits()
    first.train[0].zero_()
    assert float(digits().train[0].sum()) > 0
