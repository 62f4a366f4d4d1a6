"""What an extraction tells as it goes: small frozen records of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ExtractionStarted:
    """Model `model` begins to read into the table `to`, where it had read `papers_before` papers already."""

    model: str
    to: str
    papers_before: int


@dataclass(frozen=True)
class ChunkFinished:
    """A chunk was read and is stored. `papers`, `words`, `mentions` are its own, `new_molecules` those not met before;
    `papers_read` and `words_read` are of this run so far, `skipped` the papers that an earlier run had read.
    `seconds` and `cpu_seconds` are a worker's.
    """

    chunk: int
    papers: int
    words: int
    mentions: int
    new_molecules: int
    papers_read: int
    words_read: int
    skipped: int
    seconds: float
    cpu_seconds: float
    worker: str | None
    advances: ClassVar[bool] = True


@dataclass(frozen=True)
class PaperFailed:
    """A file or paper could not be read; it is listed in the table, and the others go on."""

    where: str
    reason: str


@dataclass(frozen=True)
class Scored:
    """`mentions` of the molecules' first mentions have a score now."""

    mentions: int


@dataclass(frozen=True)
class Notice:
    """The engine says something that people should know."""

    text: str


@dataclass(frozen=True)
class ExtractionFinished:
    """All papers are read: what the table holds of this model."""

    papers: int
    words: int
    mentions: int
    molecules: int
    problems: int
