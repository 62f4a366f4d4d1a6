"""Do people agree with each other, and is the model as good as they are?

Between two annotators: F1 of exact spans, which is what kappa tends to where most of a text is no span
(G. Hripcsak and A. S. Rothschild, J. Am. Med. Inform. Assoc. 12:296, 2005), and Cohen's kappa of tokens
(J. Cohen, Educ. Psychol. Meas. 20:37, 1960). Against an adjudicated set: everybody, people and models, is scored alike.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .label_store import Answer
from .scoring import Scores, f1, interval, places, score
from .simulated_annotator import SIMULATED
from .spans import Span
from .tasks import Task, Tokens

Find = Callable[[list[str]], Iterable[Iterable]]


@dataclass(frozen=True)
class Agreement:
    """Of two annotators, on the texts both accepted. `label` None: on all labels together.

    `f1` is NaN where neither marked a span, `kappa` where both gave all tokens one and the same class.
    """

    first: str
    second: str
    label: str | None
    texts: int
    f1: float
    kappa: float


@dataclass(frozen=True)
class Standing:
    """How one annotator or model does against the adjudicated set, on those of its texts that it has answered."""

    name: str
    kind: str
    """"person", "simulated" or "model"."""
    texts: tuple[str, ...]
    scores: Scores


@dataclass(frozen=True)
class Difference:
    """F1 of the first less F1 of the second, on the texts both answered, with its 95 % interval over resampled texts.

    "On par" means that the interval holds 0; how wide it is says what that is worth.
    """

    first: str
    second: str
    texts: int
    value: float
    low: float
    high: float


def agreements(answers: Iterable[Answer], tokens: Callable[[str], Tokens] | None = None) -> list[Agreement]:
    """Every pair of annotators, on each label and on all together (first), where they share a text.

    Only answers that say all of a text count: accepted, and not binary. Of several to one text, the newest. `tokens`
    gives the (start, end) pairs of a text; words and single signs by default.
    """
    marked: dict[str, dict[str, tuple[Span, ...]]] = {}
    labels: dict[str, None] = {}
    for answer in answers:
        labels |= dict.fromkeys(answer.labels)
        if answer.answer == "accept" and not answer.task.binary and answer.undone is None:
            marked.setdefault(answer.annotator, {})[answer.task.text] = answer.spans
    found = []
    for first, second in combinations(sorted(marked), 2):
        texts = [text for text in marked[first] if text in marked[second]]
        pairs = [(text, marked[first][text], marked[second][text]) for text in texts]
        for label in (None, *labels) if texts else ():
            kept = [(text, _of(one, label), _of(other, label)) for text, one, other in pairs]
            kappa = cohen_kappa(_classes(kept, tokens or words))
            found.append(Agreement(first, second, label, len(texts), _span_f1(kept), kappa))
    return found


def standings(
    adjudicated: Sequence[Task], answers: Iterable[Answer], models: Mapping[str, Find] | None = None
) -> list[Standing]:
    """Annotators and models against the adjudicated texts, best F1 first.

    Args:
        adjudicated: each text with all its spans, such as the answers of one experienced person.
        answers: of the annotators; leave out the adjudicator's own.
        models: name to a function such as `Recogniser.find`; a model reads all the texts.
    """
    gold = {task.text: task for task in adjudicated}
    given: dict[str, dict[str, tuple[Span, ...]]] = {}
    for answer in answers:
        if answer.answer == "accept" and not answer.task.binary and answer.task.text in gold and answer.undone is None:
            given.setdefault(answer.annotator, {})[answer.task.text] = answer.spans
    found = []
    for name, spans in given.items():
        kind = "simulated" if name.startswith(SIMULATED) else "person"
        tasks = [gold[text] for text in spans]
        # What it marked is looked up where a model would compute it.
        scores = score(lambda texts, spans=spans: [spans[text] for text in texts], tasks)
        found.append(Standing(name, kind, tuple(spans), scores))
    for name, find in (models or {}).items():
        found.append(Standing(name, "model", tuple(gold), score(find, list(gold.values()))))
    return sorted(found, key=lambda each: (-1 if math.isnan(each.scores.f1) else each.scores.f1), reverse=True)


def difference(first: Standing, second: Standing, resamples: int = 1000, seed: int = 0) -> Difference:
    """Compare two on the texts both answered, resampled in pairs.

    Raises:
        ValueError: they share no text.
    """
    here = {text: number for number, text in enumerate(first.texts)}
    shared = [(here[text], number) for number, text in enumerate(second.texts) if text in here]
    if not shared:
        raise ValueError(f"{first.name} and {second.name} have answered no text in common; give both the same ones")
    counts = np.array(
        [
            [[part[place] for part in (each.scores.right, each.scores.found, each.scores.true)] for place in column]
            for each, column in zip((first, second), zip(*shared, strict=True), strict=True)
        ],
        float,
    )  # (2, texts, 3)
    drawn = np.random.default_rng(seed).integers(len(shared), size=(resamples, len(shared)))
    right, found, true = np.moveaxis(counts[:, drawn].sum(axis=2), -1, 0)
    scores = 2 * right / np.maximum(found + true, 1e-12)
    one, other = (f1(*map(int, each)) for each in counts.sum(axis=1))
    return Difference(first.name, second.name, len(shared), one - other, *interval(scores[0] - scores[1]))


def disagreements(answers: Iterable[Answer]) -> list[tuple[str, dict[str, tuple[Span, ...]]]]:
    """The texts that annotators marked differently, and what each marked: what an adjudicator has to settle."""
    marked: dict[str, dict[str, tuple[Span, ...]]] = {}
    for answer in answers:
        if answer.answer == "accept" and not answer.task.binary and answer.undone is None:
            marked.setdefault(answer.task.text, {})[answer.annotator] = answer.spans
    return [(text, each) for text, each in marked.items() if len(set(each.values())) > 1]


def words(text: str) -> list[tuple[int, int]]:
    """(start, end) of words and of single other signs."""
    return [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]


def cohen_kappa(classes: Counter) -> float:
    """Cohen's kappa of a table {(class of the first, class of the second): how many}; NaN if both use one class."""
    total = sum(classes.values())
    first, second = Counter(), Counter()
    for (one, other), count in classes.items():
        first[one] += count
        second[other] += count
    agree = sum(count for (one, other), count in classes.items() if one == other)
    chance = sum(first[each] * second[each] for each in first)
    return (agree * total - chance) / (total * total - chance) if total * total > chance else math.nan


def _of(spans: Iterable[Span], label: str | None) -> tuple[Span, ...]:
    return tuple(span for span in spans if label is None or span.label == label)


def _span_f1(pairs: Sequence[tuple[str, tuple[Span, ...], tuple[Span, ...]]]) -> float:
    right = sum(len(places(one) & places(other)) for _, one, other in pairs)
    return f1(right, *(sum(len(pair[side]) for pair in pairs) for side in (1, 2)))


def _classes(pairs: Iterable[tuple], tokens: Callable[[str], Tokens]) -> Counter:
    """How often a token has which class for either; its class is the set of labels on it."""
    found: Counter = Counter()
    for text, *both in pairs:
        for start, end in tokens(text):
            found[tuple(frozenset(s.label for s in spans if s.start < end and start < s.end) for spans in both)] += 1
    return found
