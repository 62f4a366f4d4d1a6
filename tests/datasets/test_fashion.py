"""Fashion-MNIST's idx files, from tiny ones written here byte by byte."""

import gzip
import hashlib

import pytest

import scilab.datasets.fashion as module
from scilab.datasets import fashion_mnist

TRAIN, TEST = 3, 2


def _idx(shape, values):
    header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    return header + bytes(values)


def _files():
    files = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        values = [(n + 2 * h + 3 * w) % 256 for n in range(count) for h in range(28) for w in range(28)]
        files[f"{part}-images-idx3-ubyte"] = _idx((count, 28, 28), values)
        files[f"{part}-labels-idx1-ubyte"] = _idx((count,), [9 - n for n in range(count)])
    return files


def _write(folder, files, packed=True):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_values_and_labels_are_read_in_order(tmp_path, packed):
    split = fashion_mnist(_write(tmp_path / "fashion", _files(), packed))
    assert split.train[1].tolist() == [9, 8, 7] and split.test[1].tolist() == [9, 8]
    assert split.train[0].shape == (TRAIN, 1, 28, 28)
    for n, h, w in ((0, 0, 0), (2, 5, 9), (1, 27, 27)):
        assert round(float(split.train[0][n, 0, h, w]) * 255) == (n + 2 * h + 3 * w) % 256
    assert split.classes[9] == "Ankle boot"


def test_without_a_path_the_checked_files_in_the_data_folder_are_used(tmp_path, monkeypatch):
    folder = _write(tmp_path / "fashion-mnist", _files())
    monkeypatch.setenv("SCILAB_DATA", str(tmp_path))
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in module.SHA256}
    monkeypatch.setattr(module, "SHA256", hashes)
    assert fashion_mnist().test[1].tolist() == [9, 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_idx((3, 28, 28), [0] * 100), r"announces an array of \(3, 28, 28\) but holds 100 bytes"),
        (_idx((3,), [0] * 3), "not an idx file of bytes in 3 dimensions"),
        (b"", "not an idx file"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    folder = _write(tmp_path / "fashion", {**_files(), "train-images-idx3-ubyte": content})
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte.gz.*{message}"):
        fashion_mnist(folder)


def test_missing_and_truncated_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte;"):
        fashion_mnist(tmp_path)
    folder = _write(tmp_path / "fashion", _files())
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-6])
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.gz is damaged"):
        fashion_mnist(folder)
