"""More to learn from the same labels: names put in the place of others, and texts without any.

Every sentence of a set that people searched for drugs may hold one; a model of such a set finds drugs everywhere. So
stretches between the marked names, which people read and left unmarked, are lessons too, and so are sentences of our
own writing. Names are exchanged (mention replacement: Dai & Adel 2020) and mixed, so that the form of a name and its
company are learned rather than a list.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from .features import drug_names
from .lessons import SHORTEST, Lesson
from .spans import Span

FEWEST = 6
"""A stretch without names is a lesson from so many words."""
LONG = 7
"""Letters of a name from which its beginning and end are worth mixing."""


@cache
def drug_free() -> tuple[str, ...]:
    """Sentences of our own writing in the manner of CORD-19 papers, about all but drugs."""
    return tuple(files(__package__).joinpath("drug_free.txt").read_text(encoding="utf-8").splitlines())


def augmented(
    found: Sequence[Lesson], rng: random.Random, *, exchange: float, stretches: float, empty: Sequence[str]
) -> list[Lesson]:
    """One epoch's lessons: all of `found`, in new order, a share `exchange` of those with names once more with other
    names, a share `stretches` of them once more without; and the `empty` texts.
    """
    named = [each for each in found if each.complete and each.spans]
    pool = {}
    for each in named:
        for span in each.spans:
            pool.setdefault(span.label, {})[each.text[span.start : span.end]] = None
    pool = {label: list(texts) for label, texts in pool.items()}
    if "DRUG" in pool:
        pool["DRUG"] += sorted(drug_names())
    made = [*found, *(Lesson(text) for text in empty)]
    made += [exchanged(each, pool, rng) for each in named if rng.random() < exchange]
    for each in named:
        if rng.random() < stretches and (short := stretch(each, rng)) is not None:
            made.append(short)
    rng.shuffle(made)
    return made


def exchanged(lesson: Lesson, pool: dict[str, list[str]], rng: random.Random) -> Lesson:
    """The same text with another name in the place of each."""
    pieces, spans, missing, place = [], [], [], 0
    shifts: list[tuple[int, int]] = []
    size = 0
    for span in lesson.spans:
        name = lesson.text[span.start : span.end]
        if len(name) >= SHORTEST and rng.random() < 0.8:
            name = new_name(name, pool[span.label], rng)
        pieces += [lesson.text[place : span.start], name]
        start = size + span.start - place
        size = start + len(name)
        spans.append(Span(start, size, span.label))
        shifts.append((span.end, size - span.end))
        place = span.end
    pieces.append(lesson.text[place:])
    for start, end in lesson.missing:
        shift = next((by for after, by in reversed(shifts) if start >= after), 0)
        missing.append((start + shift, end + shift))
    return Lesson("".join(pieces), tuple(spans), (), tuple(missing))


def new_name(name: str, pool: Sequence[str], rng: random.Random) -> str:
    """Another of `pool`, or, one time in four, the beginning of one and the end of another; a capital stays one."""
    other = rng.choice(pool)
    if rng.random() < 0.25:
        end = rng.choice(pool)
        if other.isalpha() and end.isalpha() and min(len(other), len(end)) >= LONG:
            other = other[: rng.randint(2, 5)] + end[-rng.randint(4, 7) :]
    return other[0].upper() + other[1:] if name[0].isupper() else other


def stretch(lesson: Lesson, rng: random.Random) -> Lesson | None:
    """A part of the text between two names, None if each is too short. It may lose a few words at its ends, as what
    stands beside a name would tell of one.
    """
    edges = [0, *(edge for span in lesson.spans for edge in (span.start, span.end)), len(lesson.text)]
    gaps = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    long = [gap for gap in gaps if len(lesson.text[slice(*gap)].split()) >= FEWEST]
    if not long:
        return None
    start, end = rng.choice(long)
    words = lesson.text[start:end].split(" ")
    first, last = rng.randint(0, 2), rng.randint(0, 2)
    text = " ".join(words[first : len(words) - last])
    shift = start + sum(len(word) + 1 for word in words[:first])
    missing = tuple((a - shift, b - shift) for a, b in lesson.missing if a >= shift and b <= shift + len(text))
    return Lesson(text, missing=missing)
