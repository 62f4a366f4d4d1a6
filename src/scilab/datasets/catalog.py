"""Data sets by name, as a setting or a widget's choice names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .cifar import cifar10
from .digits import digits
from .fashion import fashion_mnist
from .images import image_folder
from .split import Split

DATASETS: dict[str, Callable[[], Split]] = {
    "digits": digits,
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
}


def load(name: str) -> Split:
    """The data set of that name in `DATASETS`, or the image tree at that path (a folder or a zip file)."""
    if name in DATASETS:
        return DATASETS[name]()
    if Path(name).expanduser().exists():
        return image_folder(name)
    raise ValueError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)} or the path of an image tree")
