"""CIFAR-10's two formats, from tiny archives written here value by value."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
import torch

import scilab.datasets.cifar as module
from scilab.datasets import cifar10

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def _records():
    """Per batch two (label, value of every pixel by (channel, row, column)) made by a formula."""
    batches = {}
    for batch, name in enumerate(NAMES):
        images = np.array(
            [
                [
                    [[(batch * 2 + n + 7 * c + 3 * h + 5 * w) % 256 for w in range(32)] for h in range(32)]
                    for c in range(3)
                ]
                for n in range(2)
            ]
        )
        batches[name] = (images, [batch % 10, (batch + 4) % 10])
    return batches


def _archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _binary():
    return {
        f"{name}.bin": b"".join(
            bytes([label]) + bytes(int(v) for v in image.reshape(-1))
            for image, label in zip(images, labels, strict=True)
        )
        for name, (images, labels) in _records().items()
    }


def _pickled():
    return {
        name: pickle.dumps(
            {b"data": images.reshape(2, -1).astype(np.uint8), b"labels": labels, b"batch_label": b"x"}, 3
        )
        for name, (images, labels) in _records().items()
    }


def _check(split):
    expected = [_records()[name] for name in NAMES]
    images = torch.tensor(np.concatenate([images for images, _ in expected]), dtype=torch.float64) / 255
    assert torch.equal(torch.cat([split.train[0], split.test[0]]), images.float())
    assert torch.cat([split.train[1], split.test[1]]).tolist() == [label for _, labels in expected for label in labels]
    assert len(split.test[1]) == 2 and split.classes[3] == "cat"


@pytest.mark.parametrize("files", [_binary, _pickled], ids=["binary", "python"])
def test_both_official_formats_give_the_same_values(tmp_path, files):
    _check(cifar10(_archive(tmp_path / "cifar.tar.gz", files())))


def test_an_unpacked_folder_is_read_too(tmp_path):
    with tarfile.open(_archive(tmp_path / "cifar.tar.gz", _binary())) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    _check(cifar10(tmp_path / "unpacked"))


def test_without_a_path_the_checked_file_in_the_data_folder_is_used(tmp_path, monkeypatch):
    archive = _archive(tmp_path / module.ARCHIVE, _binary())
    monkeypatch.setenv("SCILAB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="not the published file"):
        cifar10()
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    _check(cifar10())


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("this must never be printed",))

    files = {**_pickled(), "data_batch_2": pickle.dumps(Evil())}
    with pytest.raises(ValueError, match=r"refused to load builtins.print"):
        cifar10(_archive(tmp_path / "cifar.tar.gz", files))


def test_damaged_and_incomplete_archives_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no file or folder"):
        cifar10(tmp_path / "nowhere")
    (tmp_path / "text.tar.gz").write_text("not a tar file")
    with pytest.raises(ValueError, match="not a whole tar archive"):
        cifar10(tmp_path / "text.tar.gz")
    whole = _archive(tmp_path / "whole.tar.gz", _binary()).read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole tar archive"):
        cifar10(tmp_path / "half.tar.gz")
    files = _binary()
    del files["data_batch_4.bin"]
    with pytest.raises(ValueError, match=r"neither data_batch_4.bin nor data_batch_4"):
        cifar10(_archive(tmp_path / "short.tar.gz", files))
    cut = {**_binary(), "test_batch.bin": _binary()["test_batch.bin"][:-1]}
    with pytest.raises(ValueError, match="6145 bytes, not a multiple of 3073"):
        cifar10(_archive(tmp_path / "cut.tar.gz", cut))
    with pytest.raises(ValueError, match="not one of CIFAR-10's pickled batches"):
        cifar10(_archive(tmp_path / "other.tar.gz", {**_pickled(), "data_batch_1": pickle.dumps({"images": 1})}))
    high = {**_binary(), "test_batch.bin": bytes([77]) + bytes(3072)}
    with pytest.raises(ValueError, match="labels run from 77 to 77"):
        cifar10(_archive(tmp_path / "high.tar.gz", high))
