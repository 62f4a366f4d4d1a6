"""How good a set of found spans is: precision, recall and F1 on exact spans, with intervals that hold on small samples.

A span counts when start, end and label are all right. One that the model's tokens cannot hold counts as missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .spans import Span
from .tasks import Task

Place = tuple[int, int, str]
RESAMPLES = 1000


@dataclass(frozen=True)
class Share:
    """`hits` of `of`, with the Wilson (1927) score interval of 95 %; `value` is NaN when `of` is 0."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval; (0, 1) of nothing."""
        if not self.of:
            return 0.0, 1.0
        z, n, p = 1.959964, self.of, self.value
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
        return (0.0 if self.hits == 0 else low), (1.0 if self.hits == self.of else high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}] ({self.hits}/{self.of})" if self.of else "– (0/0)"


@dataclass(frozen=True)
class Scores:
    """Counts for each text, from which all figures follow. `false_free` and `words_free` are of texts without spans:
    what was found there, and how many words they have.
    """

    right: tuple[int, ...]
    found: tuple[int, ...]
    true: tuple[int, ...]
    unseen: Share
    false_free: int
    words_free: int

    @property
    def precision(self) -> Share:
        """Of what was found, what was right."""
        return Share(sum(self.right), sum(self.found))

    @property
    def recall(self) -> Share:
        """Of what is there, what was found."""
        return Share(sum(self.right), sum(self.true))

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; NaN when nothing is there and nothing was found."""
        return f1(sum(self.right), sum(self.found), sum(self.true))

    @property
    def f1_interval(self) -> tuple[float, float]:
        """Its 95 % interval, by resampling the texts (Efron 1979): spans of one text are not independent."""
        return interval(self.resampled())

    @property
    def false_per_1000_words(self) -> float:
        """Spans found in each 1,000 words of texts that hold none; NaN if there is no such text."""
        return 1000 * self.false_free / self.words_free if self.words_free else math.nan

    def resampled(self, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
        """(resamples,) values of F1; with the same seed the same texts are drawn, so that differences are paired."""
        counts = np.array([self.right, self.found, self.true], float)
        drawn = np.random.default_rng(seed).integers(counts.shape[1], size=(resamples, counts.shape[1]))
        right, found, true = counts[:, drawn].sum(axis=2)
        return 2 * right / np.maximum(found + true, 1e-12)


def f1(right: int, found: int, true: int) -> float:
    """2·right / (found + true); NaN for 0 / 0."""
    return 2 * right / (found + true) if found + true else math.nan


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(np.asarray(values), [0.025, 0.975])
    return float(low), float(high)


def score(
    find: Callable[[list[str]], Iterable[Iterable]], tasks: Sequence[Task], known: Collection[str] = ()
) -> Scores:
    """`find` (such as `Recogniser.find`) against the spans of `tasks`.

    `known` are the names, in lower case, that were seen in training: recall on the others is `unseen`.
    """
    right, found, true, hits, new, false, words = [], [], [], 0, 0, 0, 0
    for task, spans in zip(tasks, find([task.text for task in tasks]), strict=True):
        there, here = places(task.spans), places(spans)
        right.append(len(there & here))
        found.append(len(here))
        true.append(len(there))
        unseen = {place for place in there if task.text[place[0] : place[1]].lower() not in known}
        new, hits = new + len(unseen), hits + len(unseen & here)
        if not there:
            false, words = false + len(here), words + len(task.text.split())
    return Scores(tuple(right), tuple(found), tuple(true), Share(hits, new), false, words)


def places(spans: Iterable[Span]) -> set[Place]:
    """The spans as plain tuples, whatever class they are of."""
    return {(span.start, span.end, span.label) for span in spans}


def names(tasks: Iterable[Task]) -> set[str]:
    """The texts of all spans, in lower case."""
    return {task.text[span.start : span.end].lower() for task in tasks for span in task.spans}
