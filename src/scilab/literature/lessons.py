"""From answers to what a network may learn: what is a name, what is none, and what nobody said.

Accepted texts are complete: all that is not marked is no name. A rejected span is wrong as it stands, and the rest of
its text is unknown. So is a span that no sequence of tokens can hold, and so are names that people marked elsewhere and
not here (about 5 % in the CORD-19 paper's set): the network is told nothing of them, rather than "outside".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import filter_spans

from .network import INCORRECT
from .spans import Span
from .tasks import Task

SHORTEST = 4
"""Names of fewer letters mean too many things to be held against an annotator."""


@dataclass(frozen=True)
class Lesson:
    """`spans` are right, `incorrect` are wrong, of `missing` nobody said anything; if it is not `complete`, of all
    other words neither.
    """

    text: str
    spans: tuple[Span, ...] = ()
    incorrect: tuple[Span, ...] = ()
    missing: tuple[tuple[int, int], ...] = ()
    complete: bool = True


def lessons(tasks: Iterable[Task], labels: Sequence[str]) -> list[Lesson]:
    """Of answered tasks (None counts as accepted: a labelled set has no answers); of `labels` only.

    Of spans that overlap the longest counts, as an entity cannot lie in another. A text that was answered twice is
    learned twice.
    """
    found = []
    for task in tasks:
        spans = tuple(span for span in task.spans if span.label in labels)
        if task.answer in (None, "accept"):
            found.append(Lesson(task.text, _apart(spans)))
        elif task.answer == "reject" and spans:
            found.append(Lesson(task.text, incorrect=spans, complete=False))
    return found


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start - each.end, each.start, each.label)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return tuple(sorted(kept))


def without_doubt(found: Sequence[Lesson], nlp: Language) -> tuple[list[Lesson], int]:
    """The lessons with unmarked occurrences of one-word names turned into `missing`, and how many these were.

    A word counts as a name if it is marked at least twice as often as not: "blood", marked once in a hundred, does not.
    """
    marked, seen = Counter(), Counter()
    docs = [nlp.make_doc(each.text) for each in found]
    for each, doc in zip(found, docs, strict=True):
        if each.complete:
            seen.update(token.lower_ for token in doc)
            marked.update(each.text[span.start : span.end].lower() for span in each.spans)
    names = {
        name for name, times in marked.items()
        if len(name) >= SHORTEST and seen[name] > times and times >= 2 * (seen[name] - times)
    }  # fmt: skip
    clean, count = [], 0
    for each, doc in zip(found, docs, strict=True):
        covered = [(span.start, span.end) for span in each.spans]
        doubtful = tuple(
            (token.idx, token.idx + len(token)) for token in doc
            if token.lower_ in names and not any(start <= token.idx < end for start, end in covered)
        )  # fmt: skip
        count += len(doubtful)
        clean.append(Lesson(each.text, each.spans, each.incorrect, doubtful, each.complete) if doubtful else each)
    return clean, count


def to_doc(nlp: Language, lesson: Lesson) -> tuple[Doc, int]:
    """What spaCy trains on, and how many spans its tokens cannot hold (their words become missing)."""
    doc = nlp.make_doc(lesson.text)
    right, missing, lost = [], [], 0
    for span in lesson.spans:
        exact = doc.char_span(span.start, span.end, label=span.label)
        if exact is None:
            lost += 1
            missing.append(doc.char_span(span.start, span.end, alignment_mode="expand"))
        else:
            right.append(exact)
    missing += [doc.char_span(start, end, alignment_mode="expand") for start, end in lesson.missing]
    taken = {token.i for span in right for token in span}
    missing = [each for each in filter_spans(filter(None, missing)) if not taken & set(range(each.start, each.end))]
    if lesson.complete:
        doc.set_ents(right, missing=missing, default="outside")
    else:
        doc.set_ents(right, default="missing")
    wrong = [doc.char_span(span.start, span.end, label=span.label) for span in lesson.incorrect]
    doc.spans[INCORRECT] = [span for span in wrong if span is not None]
    return doc, lost
