"""From shares of beam probability to scores that mean what they say: of spans scored 0.7, about 70 % are right.

The raw score of a span is the share of the probability of the parser's eight best analyses that hold it. That is known
to be off (spaCy issues 881, 7098), so it is mapped by isotonic regression (Zadrozny & Elkan 2002) on development texts,
and `Bin`s tell how far the mapped scores can be trusted, measured on spans that the mapping was not fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH = 40
"""Fewer spans than this say nothing about a scale; then raw scores stay as they are."""


@dataclass(frozen=True)
class Bin:
    """Of `spans` scored from `low` to `high`, on average `score`, the share `right` was right."""

    low: float
    high: float
    spans: int
    score: float
    right: float


class Calibration:
    """raw score → score, linear between knots; without knots the raw score itself."""

    def __init__(self, raw: Sequence[float] = (), scores: Sequence[float] = ()) -> None:
        self.raw, self.scores = tuple(map(float, raw)), tuple(map(float, scores))

    @classmethod
    def fit(cls, raw: Sequence[float], right: Sequence[bool]) -> Calibration:
        """From spans scored `raw`, of which these were `right`. Never 0 or 1: no finite sample proves either."""
        if len(raw) < ENOUGH or len(set(right)) < 2:
            return cls()
        from sklearn.isotonic import IsotonicRegression  # takes a second, which no reading worker needs

        least = 1 / (len(raw) + 2)
        fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        fitted.fit(raw, np.asarray(right, float))
        return cls(fitted.X_thresholds_, fitted.y_thresholds_)

    def __call__(self, raw: float) -> float:
        return float(np.interp(raw, self.raw, self.scores)) if self.raw else float(raw)

    def to_list(self) -> list[list[float]]:
        """Its knots, as `from_list` takes them."""
        return [list(self.raw), list(self.scores)]

    @classmethod
    def from_list(cls, knots: Sequence[Sequence[float]]) -> Calibration:
        """What `to_list` gave."""
        return cls(*knots)


def reliability(raw: Sequence[float], right: Sequence[bool], groups: Sequence[int]) -> tuple[Bin, ...]:
    """The table for spans of several texts, `groups` saying which: each half of the texts is scored by a mapping that
    was fitted to the other half. Bins of a tenth; empty ones are left out.
    """
    raw, right, half = np.asarray(raw, float), np.asarray(right, bool), np.asarray(groups, int) % 2
    scores = np.zeros(len(raw))
    for side in (0, 1):
        mapping = Calibration.fit(raw[half != side], right[half != side])
        scores[half == side] = [mapping(each) for each in raw[half == side]]
    place = np.minimum((scores * 10).astype(int), 9)
    inside = [(n, place == n) for n in range(10) if (place == n).any()]
    return tuple(
        Bin(n / 10, (n + 1) / 10, int(here.sum()), float(scores[here].mean()), float(right[here].mean()))
        for n, here in inside
    )
