"""A trained model that finds names in text."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import srsly
from spacy.language import Language
from spacy.tokens import Doc

from .calibration import Calibration
from .lots import in_lots
from .network import blank_network, code_digest, initialise

FORMAT = "scilab recogniser 1"
TOGETHER = 200_000
"""Characters that are read in one go: the words of so much text are held in memory at a time."""
BATCH, BEAM, DENSITY = 64, 8, 1e-4


@dataclass(frozen=True)
class Found:
    """text[start:end], in code points, carries `label`; `score` is how sure the model is, NaN if it was not asked."""

    start: int
    end: int
    label: str
    score: float = float("nan")


class Recogniser:
    """Finds the spans of `labels` in texts. Made by `Training`, or read by `load`.

    Safe to share between threads: one text at a time is read. Memory stays flat however many texts there are.
    """

    def __init__(self, nlp: Language, calibration: Calibration | None = None) -> None:
        self._nlp, self._ner = nlp, nlp.get_pipe("ner")
        self.labels: tuple[str, ...] = tuple(self._ner.labels)
        self.calibration = calibration or Calibration()
        self._lock = threading.Lock()

    @property
    def nlp(self) -> Language:
        """The spaCy pipeline, for what spaCy can do with one. Not to be trained, and not from two threads at once."""
        return self._nlp

    @cached_property
    def digest(self) -> str:
        """A name for what it finds: the same weights read by the same code have the same one, anywhere."""
        told = srsly.msgpack_dumps([self.labels, self._ner.model.to_bytes(), self.calibration.to_list()])
        return blake2b(code_digest() + told, digest_size=8).hexdigest()

    def find(self, texts: Iterable[str], scores: bool = False) -> Iterator[tuple[Found, ...]]:
        """For each text, in order, the spans found in it. `scores` takes about a quarter longer: see `Calibration`."""
        for together in in_lots(_several(texts), TOGETHER):
            with self._lock, self._nlp.memory_zone():
                docs = [self._nlp.make_doc(text) for text in together]
                # Beams first: the parser would keep to spans that a document holds already.
                beams = self._beams(docs) if scores else [None] * len(docs)
                docs = self._ner.pipe(docs, batch_size=BATCH)
                found = [_found(doc, beam, self.calibration) for doc, beam in zip(docs, beams, strict=True)]
            yield from found

    def candidates(self, texts: Iterable[str], at_least: float = 0.02) -> Iterator[tuple[Found, ...]]:
        """As `find`, but every span that any of the beams holds, overlapping ones too, scored `at_least` so high."""
        for together in in_lots(_several(texts), TOGETHER):
            with self._lock, self._nlp.memory_zone():
                docs = [self._nlp.make_doc(text) for text in together]
                found = [
                    tuple(sorted(
                        (each for each in _scored(doc, beam, self.calibration) if each.score >= at_least),
                        key=lambda each: (each.start, each.end, each.label),
                    ))
                    for doc, beam in zip(docs, self._beams(docs), strict=True)
                ]  # fmt: skip
            yield from found

    def _beams(self, docs: list[Doc]) -> list[dict[tuple[int, int, str], float]]:
        """(first token, end token, label) → the share of the beams' probability that holds it, for each text."""
        found: list[dict] = []
        for first in range(0, len(docs), BATCH):
            beams = self._ner.beam_parse(docs[first : first + BATCH], beam_width=BEAM, beam_density=DENSITY)
            found += map(dict, self._ner.scored_ents(beams))
        return found

    def to_bytes(self) -> bytes:
        """The weights and all that `from_bytes` needs besides this library."""
        parts = {"model": self._ner.model.to_bytes(), "labels": list(self.labels), "code": code_digest()}
        return srsly.msgpack_dumps({"format": FORMAT, "calibration": self.calibration.to_list(), **parts})

    @classmethod
    def from_bytes(cls, data: bytes) -> Recogniser:
        """What `to_bytes` gave.

        Raises:
            ValueError: it is something else, or of a version that reads text otherwise.
        """
        try:
            parts = srsly.msgpack_loads(data)
            right = parts["format"] == FORMAT
        except Exception as error:
            raise ValueError("this is no saved recogniser; give what Recogniser.save or to_bytes wrote") from error
        if not right or parts["code"] != code_digest():
            raise ValueError(
                "this recogniser was saved by another version of scilab or spaCy, whose words and features differ; "
                "train it again from its labels"
            )
        nlp = blank_network(parts["labels"])
        initialise(nlp, 0)
        nlp.get_pipe("ner").model.from_bytes(parts["model"])
        return cls(nlp, Calibration.from_list(parts["calibration"]))

    def save(self, path: str | Path) -> Path:
        """One file, written whole or not at all."""
        path = Path(path).expanduser()
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with open(handle, "wb") as file:
                file.write(self.to_bytes())
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
        return path

    @classmethod
    def load(cls, path: str | Path) -> Recogniser:
        """What `save` wrote; ValueError as `from_bytes`."""
        return cls.from_bytes(Path(path).expanduser().read_bytes())

    def __reduce__(self) -> tuple:
        return Recogniser.from_bytes, (self.to_bytes(),)


def _found(doc: Doc, beam: dict | None, calibration: Calibration) -> tuple[Found, ...]:
    score = (lambda _: float("nan")) if beam is None else (
        lambda ent: calibration(beam.get((ent.start, ent.end, ent.label_), 0.0))
    )  # fmt: skip
    return tuple(Found(ent.start_char, ent.end_char, ent.label_, score(ent)) for ent in doc.ents)


def _scored(doc: Doc, beam: dict, calibration: Calibration) -> Iterator[Found]:
    for (first, end, label), raw in beam.items():
        span = doc[first:end]
        yield Found(span.start_char, span.end_char, label, calibration(raw))


def _several(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise ValueError("find() takes a list of texts; for one text give [text]")
    return texts
