"""A corpus read by a trained model, on any engine: an iterator of records that fills a table of molecules."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import weakref
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from ..planes import Completion, Engine, EngineError, Key, Stopped
from . import reading
from .corpus import Corpus
from .extraction_records import ChunkFinished, ExtractionFinished, ExtractionStarted, Notice, PaperFailed, Scored
from .molecule_store import MoleculeStore
from .molecules import Molecules
from .papers import Paper, Problem
from .reading import read_papers, score_sentences

AHEAD = 2
"""Chunks under way for each worker: one is read while the next waits beside it, and no more are held in memory."""
TIDY_EVERY = 40
"""Chunks after which memory is given back to the system."""
SCORED_TOGETHER = 400
"""Sentences in a task that scores."""


class Extraction:
    """Reads every paper of `corpus` with `recogniser`, and stores who names what where in the SQLite file `to`.

    A paper is read once by each model (its digest and the version of this code): a paper with the same id, text and
    date is skipped. So an extraction that was stopped or killed goes on where it was, and one over a corpus that has
    grown reads what is new. What a chunk of about `chunk_words` words gave is stored in one transaction. At
    most two chunks a worker are in memory. The first `scored_mentions` mentions of each molecule are read again for the
    score of the model's beams (for all mentions give a large number; a reading with beams takes a quarter longer).
    `molecules` is a list of molecules screened before: `Molecules`, or the path of a CSV file. `engine` is an `Engine`
    or a name such as "processes:2"; threads share one core's worth of Python.

    Iterate to run: yields the records of `extraction_records`. `result` is the table, at any time. Raises ValueError if
    the arguments do not fit.
    """

    kind = "extraction"
    total = None

    def __init__(
        self, corpus: Corpus, recogniser: Any, *, engine: Any = "threads", to: str | Path = "molecules.db",
        chunk_words: int = 20_000, scored_mentions: int = 2, molecules: Molecules | str | Path | None = None,
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        for name, value, least in (("chunk_words", chunk_words, 1), ("scored_mentions", scored_mentions, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is a whole number from {least}, got {value!r}")
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is a number of seconds above 0, or None for no limit, got {timeout_s!r}")
        if not hasattr(recogniser, "find") or not hasattr(recogniser, "digest"):
            raise ValueError(f"recogniser is a trained Recogniser, as Training's result has it, got {recogniser!r}")
        self.corpus, self.recogniser, self._engine = corpus, recogniser, engine
        self.to, self.chunk_words, self.scored_mentions = str(to), chunk_words, scored_mentions
        self._list = str(molecules) if isinstance(molecules, str | Path) else None
        self.molecules = Molecules.screened_in(molecules) if self._list else molecules or Molecules()
        self.timeout_s = timeout_s
        self.model = blake2b(f"{recogniser.digest} {reading.VERSION}".encode(), digest_size=8).hexdigest()
        self._store: MoleculeStore | None = None
        self._lock, self._session, self._early = threading.Lock(), None, []
        self._records = None  # weakly: a loop that is left with `break` ends the run

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this extraction was given."""
        return {
            "corpus": self.corpus.settings,
            "model": self.model,
            "to": self.to,
            "chunk_words": self.chunk_words,
            "scored_mentions": self.scored_mentions,
            "molecules": self._list or len(self.molecules.list),
            "timeout_s": self.timeout_s,
            "engine": self._engine if isinstance(self._engine, str) else self._engine.name,
        }

    @property
    def result(self) -> MoleculeStore:
        """The table of molecules, as far as it is filled."""
        if self._store is None:
            self._store = MoleculeStore(self.to, self.model)
        return self._store

    def __iter__(self) -> Iterator[Any]:
        """Read what has not been read.

        Raises:
            MoleculeStoreError: another process writes the table, or it cannot be written.
        """
        if self._records is not None and self._records() is not None:
            raise RuntimeError("this extraction is running; stop it before iterating again")
        records = self._run()
        self._records = weakref.ref(records)
        return records

    def _run(self) -> Iterator[Any]:
        with contextlib.ExitStack() as clean:
            clean.callback(self._ended)
            store = self.result
            store.hold()
            clean.callback(store.release)
            engine, owned = Engine.named(self._engine)
            if owned:
                clean.callback(engine.close)
            session = engine.session(self.kind)
            clean.callback(session.close)
            model = engine.store.put(self.recogniser)
            clean.callback(lambda: engine.store.holds(model) and engine.store.release(model))
            clean.callback(session.close)  # before that: nothing may still look for what lies there
            with self._lock:
                for command in self._early:
                    session.send(command)
                self._session = session
            with contextlib.suppress(Stopped):
                yield ExtractionStarted(self.model, self.to, store.counts()["papers"])
                yield from _Reading(self, store, session, model, AHEAD * engine.workers).records()
                yield from self._score(store, session, model)
                yield ExtractionFinished(**store.counts())

    def _score(self, store: MoleculeStore, session: Any, model: Key) -> Iterator[Any]:
        # In rounds, each of what is still without a score: what a killed run had not stored is simply asked again.
        while rows := store.unscored(self.scored_mentions, 8 * SCORED_TOGETHER):
            parts = [rows[at : at + SCORED_TOGETHER] for at in range(0, len(rows), SCORED_TOGETHER)]
            for part in parts:
                places = [
                    (sentence, offset, offset + stop - start, label)
                    for _, _, _, start, stop, label, offset, sentence in part
                ]
                session.submit(score_sentences, model, places, tag=part, uses=_uses(session, model), retries=1)
            for _ in parts:
                while not isinstance(item := session.next(), Completion):
                    yield Notice(item.get("reason", str(item)))
                if item.failure is not None:
                    raise EngineError(f"mentions could not be scored: {item.failure}")
                store.set_scores(zip(item.tag, item.value, strict=True))
                yield Scored(len(item.tag))

    def _ended(self) -> None:
        with self._lock:
            self._session, self._early, self._records = None, [], None

    def send(self, command: str) -> None:
        """Pause, resume or stop, at once, from any thread; also before the start.

        Raises:
            ValueError: another command.
        """
        if command not in ("pause", "resume", "stop"):
            raise ValueError(f"an extraction understands 'pause', 'resume' and 'stop', got {command!r}")
        with self._lock:
            if self._session is None:
                self._early.append(command)
            else:
                self._session.send(command)

    def state_dict(self) -> dict[str, Any]:
        """Where the state is and whose: all of it is in the table itself."""
        return {"to": self.to, "model": self.model}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that this extraction goes on with that one's work.

        Raises:
            ValueError: another model read, so that nothing of its work is of use here.
        """
        if state["model"] != self.model:
            raise ValueError(
                f"this extraction was begun by model {state['model']}, and the recogniser given makes it {self.model}: "
                "give the one that was saved, or begin a new extraction"
            )

    def load_records(self, records: Any) -> None:
        """Go on after these records of a run: they stand, and the table knows what has been read."""
        for each in records:
            if each.get("kind") == "ExtractionStarted":
                self.load_state_dict(each)

    def close(self) -> None:
        """Let other processes write the table."""
        if self._store is not None:
            self._store.close()


class _Reading:
    """The chunks of one run: made, sent, stored. One thread's."""

    def __init__(self, extraction: Extraction, store: MoleculeStore, session: Any, model: Key, window: int) -> None:
        self.extraction, self.store, self.session, self.model, self.window = extraction, store, session, model, window
        self.skipped = self.chunks = self.papers = self.words = self.told = 0
        self.waiting: dict[int, list[tuple[Paper, bytes, int]]] = {}
        self.problems: list[Problem] = []

    def records(self) -> Iterator[Any]:
        chunks, more = self._chunks(), True
        while more or self.waiting:
            for chunk in islice(chunks, max(0, self.window - len(self.waiting)) if more else 0):
                self._send(chunk)
            more = more and len(self.waiting) >= self.window
            yield from self._told()
            if self.waiting:
                yield from self._took(self.session.next())
        yield from self._told()

    def _chunks(self) -> Iterator[list[tuple[Paper, bytes, int]]]:
        chunk, words = [], 0
        for paper in self.extraction.corpus:
            if self.session.stopped.is_set():
                raise Stopped
            digest = _digest(paper)
            if self.store.digest_of(paper.paper_id) == digest:
                self.skipped += 1
                continue
            count = sum(each.text.count(" ") + 1 for each in paper.paragraphs)
            chunk.append((paper, digest, count))
            words += count
            if words >= self.extraction.chunk_words:
                yield chunk
                chunk, words = [], 0
        if chunk:
            yield chunk

    def _send(self, chunk: list[tuple[Paper, bytes, int]]) -> None:
        texts = [[(each.index, each.section, each.text) for each in paper.paragraphs] for paper, _, _ in chunk]
        number = self.session.submit(
            read_papers, self.model, texts, uses=_uses(self.session, self.model), retries=1,
            timeout_s=self.extraction.timeout_s,
        )  # fmt: skip
        self.waiting[number] = chunk

    def _took(self, item: Any) -> Iterator[Any]:
        if not isinstance(item, Completion):
            yield Notice(item.get("reason", str(item)))
            return
        chunk, failure = self.waiting.pop(item.task), item.failure
        if failure is not None and failure.kind == "engine":
            raise EngineError(str(failure))
        if failure is not None and len(chunk) > 1:
            for each in chunk:  # one of them ended the worker, or never ends
                self._send([each])
            return
        if failure is not None:
            self.problems.append(Problem(chunk[0][0].paper_id, f"could not be read: {failure}"))
            return
        found, cpu_seconds = item.value
        read = [(*each, told) for each, told in zip(chunk, found, strict=True) if not isinstance(told, str)]
        self.problems += [
            Problem(paper.paper_id, f"could not be read: {told}")
            for (paper, _, _), told in zip(chunk, found, strict=True) if isinstance(told, str)
        ]  # fmt: skip
        mentions, new = self.store.add(read, self.extraction.molecules)
        words = sum(count for _, _, count, _ in read)
        if self.chunks % TIDY_EVERY == 0:
            _give_back()
        self.chunks, self.papers, self.words = self.chunks + 1, self.papers + len(read), self.words + words
        yield ChunkFinished(
            self.chunks, len(read), words, mentions, new, self.papers, self.words, self.skipped, item.timing.seconds,
            cpu_seconds, item.worker,
        )  # fmt: skip

    def _told(self) -> Iterator[PaperFailed]:
        """What the corpus, or a worker, could not read since the last time."""
        told = self.extraction.corpus.problems[self.told :] + self.problems
        self.told, self.problems = len(self.extraction.corpus.problems), []
        if told:
            self.store.add_problems(told)
            yield from (PaperFailed(each.where, each.reason) for each in told)


def _give_back() -> None:
    """Free what finished tasks leave behind: Parsl's records of them, with all their texts, are cycles, and among as
    many objects as spaCy has Python collects those too rarely. GNU's C library then returns the memory.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _uses(session: Any, key: Key) -> tuple[Key, ...]:
    return (key,) if session.engine.store.holds(key) else ()


def _digest(paper: Paper) -> bytes:
    told = blake2b(digest_size=8)
    paragraphs = (f"{each.index} {each.section}\0{each.text}" for each in paper.paragraphs)
    for part in (paper.paper_id, paper.title, paper.published, *paragraphs):
        told.update(part.encode(errors="replace") + b"\0")
    return told.digest()
