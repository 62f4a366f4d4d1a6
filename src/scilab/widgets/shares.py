"""How the data is dealt, as a picture: how many rows of each class each device holds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

COLUMNS = 64  # devices, or groups of devices, side by side
MOST = 20_000  # devices for which it is worked out while a person chooses


@lru_cache(maxsize=4)
def _labels(dataset: str) -> tuple[np.ndarray, tuple[str, ...]]:
    from scilab.datasets import load

    split = load(dataset)
    return split.train[1].numpy(), tuple(split.classes)


def shares(dataset: str, partition: Any, devices: int, seed: int) -> dict:
    """What the very partition of a federation gives: ``rows`` of classes, each the counts by column.

    A column is ``each`` devices. ``note`` says, in place of a picture, why there is none: data that would have to be
    downloaded or decoded first is not plotted before the launch. ValueError where the data cannot be dealt so.
    """
    if dataset != "digits":
        return {"note": "The shares of this data can be plotted only once it is loaded."}
    if devices > MOST:
        return {"note": f"The shares of more than {MOST:,} devices are not plotted."}
    labels, classes = _labels(dataset)
    counts = _counts(partition, devices, seed, dataset)
    each = -(-devices // COLUMNS)
    starts = np.arange(0, devices, each)
    table = np.add.reduceat(counts, starts, axis=1)
    sizes = counts.sum(0)
    return {"classes": list(classes), "each": each, "devices": devices, "rows": table.tolist(), "total": len(labels),
            "least": int(sizes.min()), "most": int(sizes.max())}  # fmt: skip


@lru_cache(maxsize=8)
def _counts(partition: Any, devices: int, seed: int, dataset: str) -> np.ndarray:
    """(classes, devices)"""
    from scilab.federated.streams import stream

    labels, classes = _labels(dataset)
    parts = partition(labels, devices, stream(seed, "partition"))
    return np.stack([np.bincount(labels[part], minlength=len(classes)) for part in parts], axis=1)
