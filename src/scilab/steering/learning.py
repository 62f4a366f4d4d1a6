"""What learning tasks do on their workers: fit a model, put it on the data plane once, predict pieces of the space.

The data plane counts what they read by two names: "space" (once a worker process) and "model" (once a version and
process).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..planes import Address, Key, cached, get, put
from .state import State

PIECE = 8192
"""Candidates of one inference task, always the same: how rows are grouped may change the last bit of a prediction."""


def examples(state: State, rows: int, wants: str = "") -> tuple[list[int], list[float], list[Any]]:
    """(indices, values, further lessons) to learn from, of the first `rows` outcomes; of each candidate the value that
    counts, and the detail that a surrogate `wants`, if it wants one.

    What was only screened comes with the mean difference between the fidelities, over those that have both.
    """
    cheap: dict[int, float] = {}
    more: dict[int, Any] = {}
    full: dict[int, float] = {}
    for outcome in state.outcomes[:rows]:
        if outcome.usable:
            (full if outcome.fidelity == state.full else cheap)[outcome.index] = outcome.value
            if wants and (outcome.fidelity == state.full or outcome.index not in full):
                more[outcome.index] = outcome.details.get(wants)
    both = [full[index] - cheap[index] for index in full.keys() & cheap.keys()]
    shift = float(np.mean(sorted(both))) if both else 0.0
    known = {index: value + shift for index, value in cheap.items()} | full
    indices = sorted(known)  # so that a model depends on what is known, not on the order in which it came
    return indices, [known[index] for index in indices], [more[index] for index in indices] if wants else []


def fit(space: Key, surrogate: Any, more: Sequence[str], rows: list[int], values: list[float], lessons: list[Any],
        seed: int, address: Address | None) -> Any:  # fmt: skip
    """Train on these candidates' features; returns (the model, or its key if it has an address; seconds)."""
    began = time.perf_counter()
    features = _rows(space, surrogate, more, np.asarray(rows))
    model = surrogate.fit(features, np.asarray(values, dtype=float), seed, *([lessons] if lessons else []))
    return (model if address is None else put(address, model)), time.perf_counter() - began


def predict(space: Key, surrogate: Any, more: Sequence[str], model: Key, low: int, high: int) -> Any:
    """(mean, std, seconds) of candidates low … high − 1, in single precision."""
    began = time.perf_counter()
    features = _rows(space, surrogate, more, np.arange(low, high))
    return (*predicted(cached(get, model, "model"), features), time.perf_counter() - began)


def in_pieces(space: Key, surrogate: Any, more: Sequence[str], model: Any, candidates: int) -> tuple:
    """(mean, std) of all candidates as the inference tasks together find them."""
    parts = [
        predicted(model, _rows(space, surrogate, more, np.arange(low, min(low + PIECE, candidates))))
        for low in range(0, candidates, PIECE)
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def predicted(model: Any, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A model's predictions in single precision; ValueError if they are not finite numbers, one a candidate."""
    mean, std = (np.asarray(part, dtype=np.float32) for part in model.predict(features))
    if mean.shape != (len(features),) or std.shape != mean.shape:
        raise ValueError(f"predict gave shapes {mean.shape} and {std.shape} for {len(features)} candidates")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise ValueError("predict gave values that are not finite, or negative uncertainties")
    return mean, std


def _rows(space: Key, surrogate: Any, more: Sequence[str], rows: np.ndarray) -> np.ndarray:
    matrix = cached(_matrix, space)
    if not len(more):
        return matrix[rows]
    added = np.asarray(surrogate.features(more))
    inside = rows < len(matrix)
    found = np.empty((len(rows), matrix.shape[1]), dtype=matrix.dtype)
    found[inside], found[~inside] = matrix[rows[inside]], added[rows[~inside] - len(matrix)]
    return found


def _matrix(space: Key) -> np.ndarray:
    features, candidates = get(space, "space")
    matrix = np.asarray(features(candidates))
    if matrix.ndim != 2 or len(matrix) != len(candidates):
        raise ValueError(f"features gave an array {matrix.shape} for {len(candidates)} candidates; give (n, d)")
    if not np.isfinite(matrix).all():
        raise ValueError("features gave values that are not finite numbers")
    return matrix
