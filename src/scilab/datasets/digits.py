"""The 1,797 handwritten digits that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .split import Split

TRAIN = 1437  # the file holds the training images first


def digits() -> Split:
    """The UCI handwritten digits: 1,437 training and 360 test images of shape (1, 8, 8), ten classes.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998), doi 10.24432/C50P49, licence CC BY 4.0; the copy of its test set that scikit-learn
    distributes (BSD 3-clause). The split is scikit-learn's `train_test_split(test_size=0.2, random_state=0,
    stratify=labels)`, frozen into the order of the file so that no library version can change it; `rows` in
    the file are the row numbers in scikit-learn's copy.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as stored:
        images = torch.from_numpy(stored["images"]).to(torch.float32).div_(16.0).unsqueeze(1)
        labels = torch.from_numpy(stored["labels"]).to(torch.int64)
    return Split(
        name="digits",
        train=(images[:TRAIN].clone(), labels[:TRAIN].clone()),
        test=(images[TRAIN:].clone(), labels[TRAIN:].clone()),
        classes=tuple("0123456789"),
    )
