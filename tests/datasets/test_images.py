"""Trees of images written here pixel by pixel, read from folders and from zip files."""

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from scilab.datasets import image_folder


def _grey(path, value, size=(2, 3), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, dtype=dtype)).save(path)


def _tree(root, parts=("train", "test"), per_class=2):
    for p, part in enumerate(parts):
        for c, label in enumerate(("cat", "dog")):
            for n in range(per_class):
                _grey(root / part / label / f"{n}.png", 100 * p + 10 * c + n)
    return root


def _zip(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):  # an order that is not the sorted one
            archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


def _values(pair):
    return [round(float(image.mean()) * 255) for image in pair[0]]


def test_named_parts_classes_and_order(tmp_path):
    split = image_folder(_tree(tmp_path / "pets"))
    assert split.classes == ("cat", "dog") and split.name == "pets" and split.shape == (1, 2, 3)
    assert _values(split.train) == [0, 1, 10, 11] and split.train[1].tolist() == [0, 0, 1, 1]
    assert _values(split.test) == [100, 101, 110, 111] and split.test[1].tolist() == [0, 0, 1, 1]


def test_zip_files_read_as_the_folder_does(tmp_path):
    tree = _tree(tmp_path / "pets")
    (tree / "train" / "cat" / ".hidden.png").write_text("no image")
    (tree / "train" / "cat" / "notes.txt").write_text("no image either")
    folder = image_folder(tree)
    whole = image_folder(_zip(tree, tmp_path / "pets.zip", prefix="outer/inner/"))
    halves = image_folder(
        [_zip(tree / part, tmp_path / f"{part}.zip", prefix=f"{part}/") for part in ("test", "train")]
    )
    for other in (whole, halves):
        assert torch.equal(other.train[0], folder.train[0]) and torch.equal(other.train[1], folder.train[1])
        assert torch.equal(other.test[0], folder.test[0]) and other.classes == folder.classes


def test_val_stands_in_for_test_and_is_left_out_beside_it(tmp_path):
    assert _values(image_folder(_tree(tmp_path / "a", ("Train", "val"))).test) == [100, 101, 110, 111]
    three = image_folder(_tree(tmp_path / "b", ("train", "val", "test")))
    assert _values(three.test) == [200, 201, 210, 211] and _values(three.train) == [0, 1, 10, 11]


def test_a_seeded_part_of_each_class_is_drawn_where_no_test_folder_is(tmp_path):
    _tree(tmp_path / "pets", parts=("",), per_class=10)
    split = image_folder(tmp_path / "pets")
    assert split.test[1].tolist() == [0, 0, 1, 1]  # a fifth of ten, of each class
    everything = [10 * c + n for c in range(2) for n in range(10)]
    assert sorted(_values(split.train) + _values(split.test)) == everything
    assert _values(image_folder(tmp_path / "pets").test) == _values(split.test)
    assert any(_values(image_folder(tmp_path / "pets", seed=s).test) != _values(split.test) for s in range(1, 4))


def test_one_part_alone_is_split_by_the_seed(tmp_path):
    split = image_folder(_tree(tmp_path / "pets", parts=("test",), per_class=5))
    assert split.classes == ("cat", "dog") and len(split.train[1]) == 8 and len(split.test[1]) == 2


def test_classes_called_train_and_test_are_classes(tmp_path):
    for label in ("test", "train"):
        for n in range(2):
            _grey(tmp_path / "traffic" / label / f"{n}.png", n)
    assert image_folder(tmp_path / "traffic").classes == ("test", "train")


def test_colour_grey_16_bit_and_transparency_come_to_one_scale(tmp_path):
    root = tmp_path / "mixed"
    for part in ("train", "test"):
        _grey(root / part / "a" / "8.png", 51)
        _grey(root / part / "a" / "16.png", 13107, dtype=np.uint16)
    assert torch.allclose(image_folder(root).train[0], torch.full((2, 1, 2, 3), 0.2))
    Image.new("RGBA", (3, 2), (255, 0, 51, 128)).save(root / "train" / "a" / "rgba.png")
    images = image_folder(root).train[0]
    assert images.shape == (3, 3, 2, 3)
    assert torch.allclose(images[:, :, 1, 1], torch.tensor([[0.2] * 3, [0.2] * 3, [1.0, 0.0, 0.2]]))


def test_size_rescales_and_unequal_sizes_are_refused_without_it(tmp_path):
    root = _tree(tmp_path / "pets")
    _grey(root / "train" / "cat" / "large.png", 7, size=(8, 8))
    with pytest.raises(ValueError, match=r"0.png is 2×3 pixels, .*large.png 8×8; give size="):
        image_folder(root)
    assert image_folder(root, size=4).shape == (1, 4, 4)
    split = image_folder(root, size=(4, 6))
    assert split.shape == (1, 4, 6) and _values(split.train) == [0, 1, 7, 10, 11]


def test_wrong_trees_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        image_folder(tmp_path / "empty")
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(ValueError, match="neither a folder nor a zip file"):
        image_folder(tmp_path / "file.txt")
    _grey(tmp_path / "flat" / "0.png", 1)
    with pytest.raises(ValueError, match=r"0.png lies in no class folder"):
        image_folder(tmp_path / "flat")
    _tree(tmp_path / "one", parts=("",), per_class=1)
    with pytest.raises(ValueError, match="class 'cat' has one image"):
        image_folder(tmp_path / "one")
    broken = _tree(tmp_path / "broken")
    (broken / "test" / "dog" / "9.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match=r"9.png is not a readable image"):
        image_folder(broken)
    tree = _tree(tmp_path / "pets")
    with pytest.raises(ValueError, match="in another source; a file may come once"):
        image_folder([tree, tree])
    for wrong in (0, (3,), (2, -1)):
        with pytest.raises(ValueError, match="size must be"):
            image_folder(tree, size=wrong)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1.5"):
        image_folder(tree, test_fraction=1.5)
