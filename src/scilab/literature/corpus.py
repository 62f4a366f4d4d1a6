"""Papers to read, streamed from wherever they lie; duplicates dropped, what cannot be read listed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from .cord19 import Cord19
from .papers import Paper, Paragraph, Problem, Source
from .sample import SampleSource
from .seen import Seen
from .tasks import Task
from .text_files import Csv, Folder, JsonLines, Texts

LONGEST = 100_000
"""Characters of a paragraph; a longer one is cut between words, for spaCy takes a million at most."""

_HALF = re.compile("[\ud800-\udfff]")


class Corpus:
    """Papers, one at a time; can be iterated again. Memory does not grow with the texts (8 to 24 bytes a paragraph).

    A paper met before (by id, DOI, PDF hash or other key) is dropped, and so is a paragraph with the text of an
    earlier one; `dropped` counts them. One bad file costs one paper and is listed in `problems`. Both are of the
    newest iteration.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.dropped = {"papers": 0, "paragraphs": 0}

    @classmethod
    def cord19(cls, path: str | os.PathLike) -> Corpus:
        """A release of CORD-19 as published: the folder that holds metadata.csv, or its tar (see `cord19.Cord19`)."""
        return cls(Cord19(path))

    @classmethod
    def folder(cls, path: str | os.PathLike, pattern: str = "**/*.txt") -> Corpus:
        """A folder of text files, each a paper: its first line the title, blank lines between paragraphs."""
        return cls(Folder(path, pattern))

    @classmethod
    def jsonl(cls, path: str | os.PathLike, text: str = "text", id: str | None = None) -> Corpus:
        """A JSONL file, each line a paper with its text under the key `text` and its id, if it has one, under `id`."""
        return cls(JsonLines(path, text, id))

    @classmethod
    def csv(cls, path: str | os.PathLike, text: str = "text", id: str | None = None) -> Corpus:
        """A CSV file with a header, each row a paper with its text in the column `text` and its id in `id`."""
        return cls(Csv(path, text, id))

    @classmethod
    def texts(cls, texts: Sequence[str]) -> Corpus:
        """Each text a paper of one paragraph, named by its place: "text-0", …"""
        return cls(Texts(tuple(texts)))

    @classmethod
    def sample(cls) -> Corpus:
        """The embedded sample, two dozen short papers of our own writing (see `sample`)."""
        return cls(SampleSource())

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Corpus:
        """The corpus with these `settings`; ValueError for one of texts in memory, which settings do not hold."""
        settings = dict(settings)
        kind = settings.pop("corpus", None)
        if kind not in ("cord19", "folder", "jsonl", "csv", "sample"):
            raise ValueError(f"a corpus cannot be made of {kind!r} settings: build it as it was built before")
        return getattr(cls, kind)(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What makes it again, as JSON data (see `from_settings`)."""
        return dict(self.source.settings)

    @property
    def digest(self) -> str:
        """Changes when the files do, as far as their names, sizes and times tell; 32 hex digits."""
        facts = f"{sorted(self.settings.items())!r}\0{self.source.digest()}"
        return blake2b(facts.encode(errors="surrogateescape"), digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[Paper]:
        self.problems, self.dropped = problems, dropped = [], {"papers": 0, "paragraphs": 0}
        papers, texts = Seen(), Seen()
        for paper in self.source.papers(problems):
            # No `any`: every name is noted, so that a third copy is known by whichever it shares.
            if sum([not papers.add(name) for name in paper.names]):
                dropped["papers"] += 1
                continue
            kept = []
            for paragraph in _cut(paper.paragraphs):
                if not paragraph.text.strip():
                    continue
                if texts.add(paragraph.text):
                    kept.append(paragraph)
                else:
                    dropped["paragraphs"] += 1
            yield replace(paper, paragraphs=tuple(kept))

    def tasks(self) -> Iterator[Task]:
        """A task for each paragraph of each paper (see Paper.tasks)."""
        for paper in self:
            yield from paper.tasks()

    def __repr__(self) -> str:
        return f"<Corpus {', '.join(f'{key}={value!r}' for key, value in self.settings.items())}>"


def _cut(paragraphs: Iterable[Paragraph]) -> Iterator[Paragraph]:
    """Paragraphs that can be read as they are: at most LONGEST characters, no half UTF-16 pairs."""
    shift = 0
    for paragraph in paragraphs:
        text = _HALF.sub("\ufffd", paragraph.text)
        while len(text) > LONGEST:
            cut = text.rfind(" ", LONGEST // 2, LONGEST) + 1 or LONGEST
            yield Paragraph(text[:cut], paragraph.section, paragraph.index + shift)
            text, shift = text[cut:], shift + 1
        yield Paragraph(text, paragraph.section, paragraph.index + shift)
