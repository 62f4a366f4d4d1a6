"""A trained model that finds names in text."""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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

FORMAT = "scilab recogniser 3"
TOGETHER = 200_000
"""Characters that are read in one go: the words of so much text are held in memory at a time."""
BATCH, BEAM, DENSITY = 64, 8, 1e-4
ELECTED = 2 / 3 + 1e-6
"""More than this share of the networks must find a span."""
Place = tuple[int, int, str]
Shares = Counter[Place]
"""(first token, end token, label) → a share; 0 for others."""


@dataclass(frozen=True)
class Found:
    """text[start:end], in code points, carries `label`; `score` is how sure the model is, NaN if it was not asked."""

    start: int
    end: int
    label: str
    score: float = float("nan")


class Recogniser:
    """Finds the spans of `labels` in texts. Made by `Training`, or read by `load`.

    It has one network or several, which vote (Hansen & Salamon 1990): a span is found if more than two thirds of them
    find it, all of two or three. Two such spans never overlap, as some network would have found both. Reading takes as
    many times as long.
    Safe to share between threads: one text at a time is read. Memory stays flat however many texts there are.
    """

    def __init__(self, networks: Language | Sequence[Language], calibration: Calibration | None = None) -> None:
        self.networks = (networks,) if isinstance(networks, Language) else tuple(networks)
        self._ners = [nlp.get_pipe("ner") for nlp in self.networks]
        self.labels: tuple[str, ...] = tuple(self._ners[0].labels)
        self.calibration = calibration or Calibration()
        self._lock = threading.Lock()

    @property
    def nlp(self) -> Language:
        """The first network's spaCy pipeline, for what spaCy can do with one. Not to be trained, and not from two
        threads at once.
        """
        return self.networks[0]

    @cached_property
    def digest(self) -> str:
        """A name for what it finds: the same weights read by the same code have the same one, anywhere."""
        told = srsly.msgpack_dumps([FORMAT, self.labels, self._weights(), self.calibration.to_list()])
        return blake2b(code_digest() + told, digest_size=8).hexdigest()

    def find(self, texts: Iterable[str], scores: bool = False) -> Iterator[tuple[Found, ...]]:
        """For each text, in order, the spans found in it. `scores` takes about a quarter longer: see `Calibration`."""
        for together in in_lots(_several(texts), TOGETHER):
            with self._lock, self.nlp.memory_zone():
                docs = [self.nlp.make_doc(text) for text in together]
                # Beams first: the parser would keep to spans that a document holds already.
                beams = self._beams(docs) if scores else [None] * len(docs)
                votes = self._votes(docs)
                found = [tuple(self._elected(*each)) for each in zip(docs, votes, beams, strict=True)]
            yield from found

    def candidates(self, texts: Iterable[str], at_least: float = 0.02) -> Iterator[tuple[Found, ...]]:
        """As `find`, but every span that any network or beam holds, overlapping ones too, scored `at_least` so high."""
        for together in in_lots(_several(texts), TOGETHER):
            with self._lock, self.nlp.memory_zone():
                docs = [self.nlp.make_doc(text) for text in together]
                beams = self._beams(docs)
                votes = self._votes(docs)
                found = [tuple(self._likely(*each, at_least)) for each in zip(docs, votes, beams, strict=True)]
            yield from found

    def _votes(self, docs: list[Doc]) -> list[Shares]:
        """For each text, the share of the networks that find a span there."""
        shares: list[Shares] = [Counter() for _ in docs]
        for ner in self._ners:
            for doc, share in zip(ner.pipe(docs, batch_size=BATCH), shares, strict=True):
                for ent in doc.ents:
                    share[ent.start, ent.end, ent.label_] += 1 / len(self._ners)
                if ner is not self._ners[-1]:
                    doc.set_ents([], default="missing")
        return shares

    def _beams(self, docs: list[Doc]) -> list[Shares]:
        """For each text, the share of the beams' probability that holds a span, averaged over the networks."""
        shares: list[Shares] = [Counter() for _ in docs]
        for ner in self._ners:
            for first in range(0, len(docs), BATCH):
                beams = ner.beam_parse(docs[first : first + BATCH], beam_width=BEAM, beam_density=DENSITY)
                for share, scored in zip(shares[first:], ner.scored_ents(beams), strict=False):
                    for place, weight in scored.items():
                        share[place] += weight / len(self._ners)
        return shares

    def _elected(self, doc: Doc, votes: Shares, beams: Shares | None) -> Iterator[Found]:
        for place in sorted(place for place, share in votes.items() if share > ELECTED):
            yield self._made(doc, place, math.nan if beams is None else self._score(place, votes, beams))

    def _likely(self, doc: Doc, votes: Shares, beams: Shares, at_least: float) -> Iterator[Found]:
        for place in sorted({*votes, *beams}):
            if (score := self._score(place, votes, beams)) >= at_least:
                yield self._made(doc, place, score)

    def _score(self, place: Place, votes: Shares, beams: Shares) -> float:
        return self.calibration((votes[place] + beams[place]) / 2)

    def _made(self, doc: Doc, place: Place, score: float) -> Found:
        span = doc[place[0] : place[1]]
        return Found(span.start_char, span.end_char, place[2], score)

    def _weights(self) -> list[bytes]:
        return [ner.model.to_bytes() for ner in self._ners]

    def to_bytes(self) -> bytes:
        """The weights and all that `from_bytes` needs besides this library."""
        parts = {"models": self._weights(), "labels": list(self.labels), "code": code_digest()}
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
        networks = []
        for weights in parts["models"]:
            nlp = blank_network(parts["labels"])
            initialise(nlp, 0)
            nlp.get_pipe("ner").model.from_bytes(weights)
            networks.append(nlp)
        return cls(networks, Calibration.from_list(parts["calibration"]))

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


def _several(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise ValueError("find() takes a list of texts; for one text give [text]")
    return texts
