"""CIFAR-10 from its official archives.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import gzip
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from .download import Progress, data_folder, fetch
from .split import Split

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
PIXELS = 3 * 32 * 32  # a record holds all red, then all green, then all blue values, row by row


def cifar10(path: str | Path | None = None, progress: Progress | None = None) -> Split:
    """CIFAR-10: 50,000 training and 10,000 test images of shape (3, 32, 32), ten classes.

    `path` may name the official binary or Python archive (.tar.gz) or the folder one was unpacked into.
    Without it the binary archive (162 MiB) is taken from the data folder (see `data_folder`), downloaded once
    if it is not there. In memory the images take 703 MiB as float32.
    """
    source = Path(path).expanduser() if path else fetch(URL, data_folder() / ARCHIVE, SHA256, progress)
    if source.is_dir():
        stored = {file.name: file for file in sorted(source.rglob("*_batch*")) if file.is_file()}
        return _split(source, stored, lambda file: open(file, "rb"))
    if not source.is_file():
        raise ValueError(f"there is no file or folder {source}; give CIFAR-10's archive or the folder it unpacks to")
    try:
        with tarfile.open(source) as archive:
            stored = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
            return _split(source, stored, archive.extractfile)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{source} is not a whole tar archive ({error}); expected CIFAR-10's {ARCHIVE}") from error


def _split(source: Path, stored: dict, open_stored: Callable[..., BinaryIO]) -> Split:
    """Read the six batches, binary ('data_batch_1.bin') or pickled ('data_batch_1'), whichever is there."""
    parts = []
    for names in (BATCHES, ("test_batch",)):
        images, labels = [], []
        for name in names:
            read = _read_binary if f"{name}.bin" in stored else _read_pickled
            chosen = stored.get(f"{name}.bin", stored.get(name))
            if chosen is None:
                raise ValueError(f"{source} holds neither {name}.bin nor {name}; it is not a complete CIFAR-10")
            with open_stored(chosen) as file:
                pixels, classes = read(f"{source}: {name}", file)
            images.append(pixels)
            labels.append(classes)
        pixels = np.concatenate(images).reshape(-1, 3, 32, 32)
        parts.append((torch.from_numpy(pixels).to(torch.float32).div_(255.0), torch.from_numpy(np.concatenate(labels))))
    return Split(name="cifar10", train=parts[0], test=parts[1], classes=CLASSES)


def _read_binary(where: str, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    content = np.frombuffer(file.read(), dtype=np.uint8)
    if content.size == 0 or content.size % (1 + PIXELS):
        raise ValueError(f"{where} has {content.size} bytes, not a multiple of {1 + PIXELS} (a label and an image)")
    records = content.reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers; anything else in a file from elsewhere is refused."""

    def find_class(self, module: str, name: str) -> object:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise ValueError(f"refused to load {module}.{name} from a data file: CIFAR-10's batches hold only arrays")


def _read_pickled(where: str, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArraysOnly(file, encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{where} is not one of CIFAR-10's pickled batches ({error!r})") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), PIXELS):
        raise ValueError(f"{where}: data is {pixels.dtype} {pixels.shape}, expected uint8 ({len(labels)}, {PIXELS})")
    return pixels, labels
