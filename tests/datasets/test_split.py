"""A split refuses data that a model would silently mistrain on."""

import pytest
import torch

from scilab.datasets import Split, load


def _split(images=None, labels=None, classes=("a", "b"), test=None):
    good = (torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]))
    images = good[0] if images is None else images
    labels = good[1] if labels is None else labels
    return Split(name="toy", train=(images, labels), test=test or good, classes=classes)


def test_a_good_split_says_what_it_is():
    assert repr(_split()) == "Split('toy': 2 training and 2 test images of (1, 2, 2), 2 classes)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": torch.zeros(2, 1, 2, 2, dtype=torch.uint8)}, "toy train: images must be float32"),
        (
            {"images": torch.zeros(2, 4)},
            r"shape \(n, channels, height, width\), got torch.float32 of shape \(2, 4\)",
        ),
        ({"images": torch.full((2, 1, 2, 2), float("nan"))}, "finite and in .0, 1."),
        ({"images": torch.full((2, 1, 2, 2), 255.0)}, "range of 255.0 to 255.0"),
        ({"images": torch.zeros(3, 1, 2, 2)}, "3 images but 2 labels"),
        ({"images": torch.zeros(0, 1, 2, 2), "labels": torch.zeros(0, dtype=torch.int64)}, "no images"),
        ({"labels": torch.tensor([0, 2])}, "labels run from 0 to 2, but there are 2 classes"),
        ({"labels": torch.tensor([-1, 0])}, "labels run from -1 to 0"),
        ({"labels": torch.tensor([0.0, 1.0])}, "labels must be int64"),
        ({"classes": ("a", "a")}, "class names must differ"),
        (
            {"test": (torch.zeros(1, 3, 2, 2), torch.tensor([0]))},
            r"training images are \(1, 2, 2\), test images \(3, 2, 2\)",
        ),
    ],
)
def test_wrong_data_is_refused_with_what_was_given(given, message):
    with pytest.raises(ValueError, match=message):
        _split(**given)


def test_a_single_nan_among_good_pixels_is_found():
    images = torch.zeros(2, 1, 2, 2)
    images[1, 0, 1, 1] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        _split(images)


def test_load_knows_names_and_says_them_for_an_unknown_one():
    assert load("digits").name == "digits"
    with pytest.raises(ValueError, match="'mnist'; choose one of digits, cifar10, fashion_mnist or the path"):
        load("mnist")
