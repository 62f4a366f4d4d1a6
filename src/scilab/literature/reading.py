"""What a worker does for an extraction: it reads papers, or sentences again for their scores."""

from __future__ import annotations

import time
from typing import Any

from ..planes import Key, cached, get
from .molecule_store import Mentioned
from .sentences import sentence_around

VERSION = "extraction 1"
"""Changes when the same model would give other mentions or sentences; papers are then read anew."""
Paragraphs = list[tuple[int, str, str]]
"""(index, section, text) of each paragraph of a paper."""


def read_papers(model: Key, papers: list[Paragraphs]) -> tuple[list[list[Mentioned] | str], float]:
    """The mentions in each paper, or, of one that cannot be read, why; and the CPU seconds that took."""
    began, recogniser = time.thread_time(), cached(get, model)
    texts = [text for paper in papers for _, _, text in paper]
    try:
        found = iter(list(recogniser.find(texts)))
        told: list[list[Mentioned] | str] = [_mentions(paper, found) for paper in papers]
    except Exception:
        told = [_alone(recogniser, paper) for paper in papers]
    return told, time.thread_time() - began


def score_sentences(model: Key, places: list[tuple[str, int, int, str]]) -> list[float]:
    """The score of each (sentence, start, end, label), the sentence read by itself; 0 where it is not found then.

    A sentence of several names is read once.
    """
    recogniser = cached(get, model)
    sentences = list(dict.fromkeys(sentence for sentence, *_ in places))
    found = {
        sentence: {(each.start, each.end, each.label): each.score for each in told}
        for sentence, told in zip(sentences, recogniser.find(sentences, scores=True), strict=True)
    }
    return [float(found[sentence].get((start, end, label), 0.0)) for sentence, start, end, label in places]


def _alone(recogniser: Any, paper: Paragraphs) -> list[Mentioned] | str:
    try:
        return _mentions(paper, iter(list(recogniser.find([text for _, _, text in paper]))))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _mentions(paper: Paragraphs, found: Any) -> list[Mentioned]:
    told = []
    for index, section, text in paper:
        for each in next(found):
            first, sentence = sentence_around(text, each.start, each.end)
            raw = text[each.start : each.end]
            told.append(Mentioned(index, section, each.start, each.end, each.label, raw, first, sentence))
    return told
