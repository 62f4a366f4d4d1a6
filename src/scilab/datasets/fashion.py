"""Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747; MIT licence) from its idx files."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from .download import Progress, data_folder, fetch
from .split import Split

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def fashion_mnist(path: str | Path | None = None, progress: Progress | None = None) -> Split:
    """Fashion-MNIST: 60,000 training and 10,000 test images of shape (1, 28, 28), ten classes.

    `path` may name a folder with the four official files, packed (.gz) or not. Without it they (29 MiB) are
    taken from `fashion-mnist` in the data folder (see `data_folder`), downloaded once if they are not there.
    """
    if path is None:
        folder = data_folder() / "fashion-mnist"
        files = [fetch([m + name for m in MIRRORS], folder / name, SHA256[name], progress) for name in SHA256]
    else:
        files = [_find(Path(path).expanduser(), name) for name in SHA256]
    arrays = [_read_idx(file, dimensions=3 if "images" in file.name else 1) for file in files]
    train, test = (
        (
            torch.from_numpy(images).unsqueeze(1).to(torch.float32).div_(255.0),
            torch.from_numpy(labels).to(torch.int64),
        )
        for images, labels in (arrays[:2], arrays[2:])
    )
    return Split(name="fashion_mnist", train=train, test=test, classes=CLASSES)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / name.removesuffix(".gz")):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{folder} holds neither {name} nor {name.removesuffix('.gz')}; it needs {', '.join(SHA256)}")


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of bytes: 0, 0, type 8, number of dimensions, every size (big-endian), the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or not gzip-packed ({error}); fetch it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(
            f"{path} is not an idx file of bytes in {dimensions} dimensions: it starts with {content[:4]!r}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} announces an array of {shape} but holds {len(content) - header} bytes")
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=header).reshape(shape)
