"""The project of people who label: tasks, every answer ever given, labels and guidelines, in one SQLite file."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ..storage import Database, DatabaseError, Holding
from ..storage.holding import TABLE as HOLDING
from . import prodigy_file
from .spans import Span, check_spans
from .tasks import ANSWERS, Task, Tokens, spans_as_lists

# Keys of a Prodigy row that tell of the answer, not of the task; the last two are ours.
_ACT = ("_annotator_id", "_session_id", "_timestamp", "_answer_id", "_labels")


class LabelStoreError(DatabaseError):
    """The project cannot be opened or written; the message says why, and what to do."""


class _File(Database):
    what = "labelling project"
    file_name = "labels.db"
    elsewhere = "give LabelStore another path"
    application = 0x5C11AB02
    tables = (
        "CREATE TABLE project (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        # A text with other suggested spans is another question.
        """CREATE TABLE tasks (
        number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, text TEXT NOT NULL, spans TEXT NOT NULL,
        meta TEXT NOT NULL, extra TEXT NOT NULL) STRICT""",
        # Never rewritten but for `undone`, the time an answer was taken back. labels: those asked for at the time.
        """CREATE TABLE answers (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, task INTEGER NOT NULL REFERENCES tasks,
        annotator TEXT NOT NULL, answer TEXT NOT NULL, spans TEXT NOT NULL, labels TEXT NOT NULL, at REAL NOT NULL,
        seconds REAL, undone REAL) STRICT""",
        "CREATE INDEX answers_of ON answers (annotator, task)",
        HOLDING,
    )
    synchronous = "FULL"  # hours of a person's work: it shall survive a power cut, and one fsync an answer is nothing
    error = LabelStoreError


@dataclass(frozen=True)
class Answer:
    """What one annotator said of one task.

    `spans` are the annotator's, `labels` those that were asked for then; `at` is unix time, `seconds` how long the
    text was on the screen (None if not known), `undone` when the answer was taken back (None: it stands).
    """

    task: Task
    annotator: str
    spans: tuple[Span, ...]
    answer: str
    at: float
    seconds: float | None
    answer_id: str
    labels: tuple[str, ...]
    undone: float | None = None

    @property
    def as_task(self) -> Task:
        """The task with this annotator's spans and answer, as a Prodigy file holds it."""
        act = (self.annotator, self.annotator, self.at, self.answer_id, list(self.labels))
        extra = {**self.task.extra, **dict(zip(_ACT, act, strict=True))}
        return Task(self.task.text, self.spans, self.task.meta, self.answer, extra)


class LabelStore:
    """Opens the project in the file `path`, made if it is not there; usable from all threads of one process.

    What a method wrote is on the disk when it returns. Two stores of one process on one path are one project.

    Args:
        path: of the file.
        labels: to ask for. None: those the project has, "DRUG" for a new one.

    Raises:
        LabelStoreError: another process has the project (the message says which), or the file cannot be used.
        ValueError: the project was begun with other labels.
    """

    def __init__(self, path: str | os.PathLike, labels: Sequence[str] | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._database = _File.at(self.path)
        self._holding = Holding.of(self._database)
        self._closed = False
        try:
            stored = self._setting("labels")
            if stored is None:
                self._set("labels", _checked_labels(("DRUG",) if labels is None else labels))
            elif labels is not None and (given := _checked_labels(labels)) != (known := self.labels):
                raise ValueError(
                    f"{self.path} has the labels {', '.join(known)}, not {', '.join(given)}. Open it without `labels`; "
                    "then `store.labels = …` changes them (a label in use cannot be removed). For another project "
                    "give another path"
                )
        except BaseException:
            self.close()
            raise

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels asked for, in the order of their keys. Assign to change them; old answers keep their own.

        Raises (when assigned):
            ValueError: a label that standing answers use would go.
        """
        return tuple(self._setting("labels"))

    @labels.setter
    def labels(self, labels: Sequence[str]) -> None:
        labels = _checked_labels(labels)
        for label in set(self.labels) - set(labels):
            used = sum(any(span.label == label for span in answer.spans) for answer in self.answered())
            if used:
                raise ValueError(
                    f"the label {label!r} cannot be removed: {used} answers use it. Keep it, undo them, or begin a "
                    "project with other labels in another file"
                )
        self._set("labels", labels)

    @property
    def guidelines(self) -> str:
        """What annotators are told: what counts and what does not. Assign to change it."""
        return self._setting("guidelines") or ""

    @guidelines.setter
    def guidelines(self, text: str) -> None:
        self._set("guidelines", str(text))

    def add_tasks(self, tasks: Iterable[Task]) -> int:
        """Add tasks to label; their answers, if any, are not looked at (see `import_prodigy`).

        A task with the text and spans of one that is there is the same task. Returns how many were new. All or none
        are added.

        Raises:
            ValueError: a suggested span has a label that the project does not.
        """
        new = 0
        with self._writing() as execute:
            labels = self.labels
            for task in tasks:
                new += self._add(execute, task, labels)[1]
        return new

    def tasks(self) -> list[Task]:
        """All tasks, in the order they were added, without answers."""
        return [_task(*row) for row in self._read("SELECT text, spans, meta, extra FROM tasks ORDER BY number")]

    def unanswered(self, annotator: str) -> list[Task]:
        """The tasks this annotator has no standing answer to, in the order they were added."""
        rows = self._read(
            "SELECT text, spans, meta, extra FROM tasks WHERE number NOT IN "
            "(SELECT task FROM answers WHERE annotator = ? AND undone IS NULL) ORDER BY number",
            (annotator,),
        )
        return [_task(*row) for row in rows]

    def answer(
        self,
        task: Task,
        annotator: str,
        spans: Iterable[Span],
        answer: str,
        answer_id: str | None = None,
        seconds: float | None = None,
    ) -> bool:
        """Keep an answer; on the disk when this returns. A later one to the same task stands in its place.

        `answer_id` names this act of the person (any text that is never used twice): a message that arrives twice
        is one answer, also after it was undone. Returns whether it was new.

        Raises:
            ValueError: a span lies outside the text or has an unknown label, or the answer or annotator is no such.
        """
        at, id = time.time(), answer_id or secrets.token_hex(8)
        with self._writing() as execute:
            return self._keep(execute, task, annotator, spans, answer, id, seconds, at, self.labels)

    def undo(self, annotator: str, answer_id: str | None = None) -> Answer | None:
        """Take back the annotator's newest standing answer, or the one with that id if it is standing.

        Returns the answer taken back (its task, and the spans as they were), None if there is none. What was said of
        the task before it, if anything, stands again.
        """
        with self._writing() as execute:
            # fetchall: the statement must have ended before the commit
            rows = execute(
                "UPDATE answers SET undone = ? WHERE number = (SELECT max(number) FROM answers WHERE annotator = ? "
                "AND undone IS NULL AND (? IS NULL OR id = ?)) AND undone IS NULL RETURNING number",
                (time.time(), annotator, answer_id, answer_id),
            ).fetchall()
            return self._answers("answers.number = ?", rows[0])[0] if rows else None

    def history(self, annotator: str) -> list[Answer]:
        """Every answer this annotator ever gave, oldest first, those taken back or given anew too."""
        return self._answers("annotator = ?", (annotator,))

    def answered(self, annotator: str | None = None) -> list[Answer]:
        """The standing answers, one for each task and annotator, in the order they were given."""
        return self._answers(
            "answers.number IN (SELECT max(number) FROM answers WHERE undone IS NULL GROUP BY task, annotator) "
            "AND (? IS NULL OR annotator = ?)",
            (annotator, annotator),
        )

    def annotators(self) -> list[str]:
        """Who has standing answers, by name."""
        rows = self._read("SELECT DISTINCT annotator FROM answers WHERE undone IS NULL ORDER BY annotator")
        return [name for (name,) in rows]

    def export_prodigy(
        self, path: str | os.PathLike, annotator: str | None = None, tokens: Callable[[str], Tokens] | None = None
    ) -> int:
        """Write the standing answers, of one annotator or all, as a Prodigy file; returns their number.

        The file appears whole or not at all. Each row names its annotator in `_annotator_id`. `tokens` as in
        Task.to_prodigy.
        """
        return prodigy_file.write(path, [answer.as_task for answer in self.answered(annotator)], tokens)

    def import_prodigy(self, path: str | os.PathLike, annotator: str | None = None) -> tuple[int, int]:
        """Add a Prodigy file's tasks, and its answers as those of `annotator`; all of it or nothing.

        Without `annotator` each row's own is taken (`_annotator_id`, else `_session_id`), else "imported". A row
        without an answer is a task to label, its spans suggestions. An answered row's task is its text, for Prodigy
        does not keep what it had suggested; one of a binary answer keeps its span (see Task.binary). A file imported
        twice is there once. Returns (new tasks, new answers).

        Raises:
            ValueError: a line is no JSON or no task; the message names file and line. Or a label is unknown.
        """
        path = Path(path).expanduser()
        new_tasks = new_answers = 0
        with self._writing() as execute:
            labels = self.labels
            for number, task in prodigy_file.numbered(path):
                try:
                    act = {key: task.extra.get(key) for key in _ACT}
                    extra = {key: value for key, value in task.extra.items() if key not in _ACT}
                    suggested = task.spans if task.answer is None or task.binary else ()
                    question = Task(task.text, suggested, task.meta, extra=extra)
                    new_tasks += self._add(execute, question, labels)[1]
                    if task.answer is None:
                        continue
                    who = annotator or act["_annotator_id"] or act["_session_id"] or "imported"
                    said = [who, task.text, spans_as_lists(task.spans), task.answer, act["_timestamp"]]
                    known = who == act["_annotator_id"] and act["_answer_id"]
                    id = str(known or f"imported {_digest(said).hex()}")
                    at, asked = float(act["_timestamp"] or time.time()), tuple(act["_labels"] or labels)
                    new_answers += self._keep(
                        execute, question, str(who), task.spans, task.answer, id, None, at, asked
                    )
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from None
        return new_tasks, new_answers

    def _keep(self, execute, task, annotator, spans, answer, answer_id, seconds, at, asked) -> bool:
        spans, labels = check_spans(task.text, spans), self.labels
        if answer not in ANSWERS:
            raise ValueError(f"an answer is one of {', '.join(ANSWERS)}, got {answer!r}")
        if not isinstance(annotator, str) or not annotator.strip():
            raise ValueError(f"give the annotator's name, to keep people's answers apart; got {annotator!r}")
        _known(spans, labels)
        number, _ = self._add(execute, task, labels)
        values = (answer_id, number, annotator, answer, _json(spans_as_lists(spans)), _json(asked), at, seconds)
        return bool(
            execute(
                "INSERT OR IGNORE INTO answers (id, task, annotator, answer, spans, labels, at, seconds) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            ).rowcount
        )

    def _add(self, execute, task: Task, labels: tuple[str, ...]) -> tuple[int, bool]:
        """The task's number, and whether it is new."""
        _known(task.spans, labels)
        spans = _json(spans_as_lists(task.spans))
        key = _digest([task.text, spans])
        new = execute(
            "INSERT OR IGNORE INTO tasks (key, text, spans, meta, extra) VALUES (?, ?, ?, ?, ?)",
            (key, task.text, spans, _json(dict(task.meta)), _json(dict(task.extra))),
        ).rowcount
        return execute("SELECT number FROM tasks WHERE key = ?", (key,)).fetchone()[0], bool(new)

    def _answers(self, condition: str, values: tuple) -> list[Answer]:
        rows = self._read(
            "SELECT text, tasks.spans, meta, extra, annotator, answers.spans, answer, at, seconds, id, labels, undone "
            f"FROM answers JOIN tasks ON task = tasks.number WHERE {condition} ORDER BY answers.number",
            values,
        )
        return [
            Answer(_task(*row[:4]), row[4], _spans(row[5]), *row[6:10], tuple(json.loads(row[10])), row[11])
            for row in rows
        ]

    def _setting(self, key: str) -> object:
        rows = self._read("SELECT value FROM project WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    def _set(self, key: str, value: object) -> None:
        with self._writing() as execute:
            execute("REPLACE INTO project VALUES (?, ?)", (key, _json(value)))

    def _read(self, query: str, values: tuple = ()) -> list[tuple]:
        self._check_open()
        return self._database.read(query, values)

    @contextmanager
    def _writing(self):
        self._check_open()
        with self._database.transaction() as execute:
            self._holding.check(execute)
            yield execute

    def _check_open(self) -> None:
        if self._closed:
            raise LabelStoreError(f"{self.path} was closed. Open it again with LabelStore({str(self.path)!r})")

    def close(self) -> None:
        """Let other processes have the project; closing twice is no error."""
        if not self._closed:
            self._closed = True
            self._holding.release()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LabelStore {self.path}{' (closed)' if self._closed else ''}>"


_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _digest(value: object) -> bytes:
    return blake2b(_json(value).encode(), digest_size=16).digest()


def _task(text: str, spans: str, meta: str, extra: str) -> Task:
    return Task(text, _spans(spans), json.loads(meta), extra=json.loads(extra))


def _spans(text: str) -> tuple[Span, ...]:
    return tuple(Span(*each) for each in json.loads(text))


def _known(spans: Iterable[Span], labels: tuple[str, ...]) -> None:
    for span in spans:
        if span.label not in labels:
            raise ValueError(
                f"span {span} has a label that this project does not; it has {', '.join(labels)}. Correct the span, or "
                "add the label: store.labels = (*store.labels, " + repr(span.label) + ")"
            )


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise ValueError(f"labels are a list of names, such as [{labels!r}]; got the text {labels!r}")
    labels = tuple(labels)
    names = all(isinstance(each, str) and each.strip() for each in labels)
    if not labels or not names or len(set(labels)) != len(labels):
        raise ValueError(f"labels are one or more different names, such as ['DRUG']; got {list(labels)}")
    return labels
