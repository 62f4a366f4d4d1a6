"""Policies of choosing texts, compared by simulated annotators who answer from labels that are known already.

Compared at equal *words read*: texts that a policy likes may be long, and a person is paid by the hour.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .lots import in_lots
from .recogniser import Recogniser
from .sampling import next_texts
from .scoring import score
from .simulated_annotator import SimulatedAnnotator
from .tasks import Task
from .training import Training


@dataclass(frozen=True)
class CurvePoint:
    """After `words` words of `texts` texts were read by a simulated annotator, `spans` spans marked in them."""

    policy: str
    seed: int
    texts: int
    words: int
    spans: int
    f1: float
    precision: float
    recall: float


def simulate(
    pool: Sequence[Task], test: Sequence[Task], policy: str, *, seed: int = 0, start_words: int = 1000,
    words_a_round: int = 1000, rounds: int = 3, epochs: int = 8, random_share: float = 1 / 3, look_at: int = 600,
    labels: Sequence[str] = ("DRUG",), negatives: Sequence[str] = (), annotator: SimulatedAnnotator | None = None,
    networks: int = 1,
) -> Iterator[CurvePoint]:  # fmt: skip
    """Label `start_words` at random (the same for every policy of a seed), then `rounds` rounds, each trained anew.

    Each round the policy chooses among `look_at` texts drawn from the pool. The development texts are held out by
    `Training`. What was read is answered by `annotator`, with its slips; without one, as the pool says.

    Raises:
        ValueError: the pool has no more words than will be read.
    """
    need = start_words + rounds * words_a_round
    have = sum(map(_words, pool))
    if have < need:
        raise ValueError(f"the pool has {have} words and {need} will be read; give more texts, or fewer rounds")
    rng = random.Random(f"{seed} simulation")
    shuffled = rng.sample(list(pool), len(pool))
    answer = list if annotator is None else annotator.mark_all
    read = answer(next(in_lots(shuffled, start_words, _words)))
    recogniser: Recogniser | None = None
    for number in range(rounds + 1):
        if number:
            done = {task.text for task in read}
            left = [task for task in rng.sample(list(pool), len(pool)) if task.text not in done][:look_at]
            n = max(2, words_a_round // 10)  # more than will be read
            told = next_texts(recogniser, left, read, n, policy=policy, random_share=random_share, seed=seed)
            read += answer(next(in_lots((each.task for each in told), words_a_round, _words)))
        training = Training(read, labels=labels, epochs=epochs, seed=seed, negatives=negatives, networks=networks)
        for _ in training:
            pass
        recogniser = training.result.recogniser
        found = score(recogniser.find, test)
        spans = sum(len(task.spans) for task in read)
        yield CurvePoint(policy, seed, len(read), sum(map(_words, read)), spans, found.f1, found.precision.value,
                         found.recall.value)  # fmt: skip


def area(points: Sequence[CurvePoint], low: int, high: int) -> float:
    """The mean of F1 from `low` to `high` words read, linear between the points (area under the curve / width).

    Raises:
        ValueError: the curve does not reach so far.
    """
    words, values = [each.words for each in points], [each.f1 for each in points]
    if not words or words[0] > low or words[-1] < high:
        raise ValueError(f"a curve from {words[:1]} to {words[-1:]} words says nothing of {low} to {high}")
    at = np.unique([low, *(each for each in words if low < each < high), high])
    return float(np.trapezoid(np.interp(at, words, values), at) / (high - low))


def compared(policy: Sequence[Sequence[CurvePoint]], control: Sequence[Sequence[CurvePoint]]) -> list[float]:
    """For each seed, how much larger the policy's area is than the control's, over the words that both curves cover."""
    found = []
    for one, other in zip(policy, control, strict=True):
        low, high = max(one[0].words, other[0].words), min(one[-1].words, other[-1].words)
        found.append(area(one, low, high) - area(other, low, high))
    return found


def _words(task: Task) -> int:
    return len(task.text.split())
