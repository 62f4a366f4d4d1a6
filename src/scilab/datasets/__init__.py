"""Embedded samples and checked downloads. Every loader returns a `Split`."""

from .catalog import DATASETS, load
from .cifar import cifar10
from .digits import digits
from .download import DownloadError, data_folder, fetch
from .fashion import fashion_mnist
from .images import image_folder
from .split import Split

__all__ = [
    "DATASETS",
    "DownloadError",
    "Split",
    "cifar10",
    "data_folder",
    "digits",
    "fashion_mnist",
    "fetch",
    "image_folder",
    "load",
]
