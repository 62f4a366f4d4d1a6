"""A paper and its paragraphs, and what a source of papers is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .tasks import Task


@dataclass(frozen=True)
class Paragraph:
    """A stretch of a paper; `index` counts from 0 over all its paragraphs, title and abstract and dropped ones too."""

    text: str
    section: str
    index: int


@dataclass(frozen=True)
class Paper:
    """A paper as far as it could be read.

    `published` is an ISO date, a year, or "" if not known. `keys` are other names of the same work (DOI, hash of its
    PDF, …), by which a second copy is known.
    """

    paper_id: str
    title: str
    published: str
    paragraphs: tuple[Paragraph, ...]
    keys: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All by which this work is known, its id among them."""
        return f"id {self.paper_id}", *self.keys

    def tasks(self) -> list[Task]:
        """A task to label for each paragraph, its place in `meta`: paper, title, published, section, index."""
        place = {"paper": self.paper_id, "title": self.title, "published": self.published}
        return [
            Task(each.text, meta={**place, "section": each.section, "index": each.index}) for each in self.paragraphs
        ]


@dataclass(frozen=True)
class Problem:
    """Something that could not be read, and why."""

    where: str
    reason: str


class Source(Protocol):
    """Where papers come from. `settings` are its JSON form, `digest` tells whether it was changed (cheaply)."""

    settings: Mapping[str, Any]

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """All papers, one at a time; what cannot be read is appended to `problems`."""

    def digest(self) -> str:
        """Changes when the files do, as far as their names, sizes and times tell."""


def listing(files: Iterable[Path]) -> str:
    """Name, size and time of files, for a digest."""
    facts = []
    for file in files:
        found = file.stat()
        facts.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    return "\n".join(facts)
