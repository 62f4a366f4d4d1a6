"""Labels to a doccano server and back, without losing or moving one.

doccano counts UTF-16 units, or graphemes where a project says so; here it is code points, converted at this edge. It is
silent about much that it drops, so what cannot be kept is refused before it is sent, and what was sent is read back and
compared. The facts were measured on doccano 1.8.4.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .doccano_client import ClientServer, DoccanoError, Server
from .doccano_rows import Unit, check, checked_labels, content, listed, pushed, read_rows, rows_to_send, unit_of
from .label_store import LabelStore
from .offsets import from_units
from .papers import Problem
from .spans import shown
from .tasks import Task

FILE_ROWS = 1000
"""doccano reads so many rows at a time; when it fails within a file it begins that file again."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#f0e442", "#000000")


@dataclass(frozen=True)
class Report:
    """What a push did: texts and spans that are now in the project as they were given, and texts that had been there.

    `problems` lists texts that are in the project with other spans than these, because somebody worked on them.
    """

    project: str
    project_id: int
    texts: int
    spans: int
    already_there: int
    problems: tuple[Problem, ...] = ()


class Doccano:
    """A user's view of a doccano server. `server` takes the place of one at `url` that is reached by doccano-client.

    `problems` are those of the last `pull`. `wait_s` is how long the server may take for a file.

    Raises:
        DoccanoError: no server answers there, it refuses the user, or doccano-client is not installed.
    """

    def __init__(
        self, url: str, username: str, password: str, *, wait_s: float = 600.0, server: Server | None = None
    ) -> None:
        if server is None and not str(url).startswith(("http://", "https://")):
            raise ValueError(f"the address of a doccano server begins with http:// or https://, got {url!r}")
        self.url, self.username, self.wait_s = str(url).rstrip("/"), username, wait_s
        self.problems: list[Problem] = []
        self._server = ClientServer(self.url) if server is None else server
        self._server.login(username, password)

    def projects(self) -> list[str]:
        """The names of the projects that this user sees."""
        return [project["name"] for project in self._server.projects()]

    def push(
        self, tasks: LabelStore | Iterable[Task], project: str | int, labels: Sequence[str] | None = None, *,
        annotator: str | None = None, allow_overlapping: bool = False, grapheme_mode: bool = False,
    ) -> Report:  # fmt: skip
        """Put texts and their spans into a project, which is made if no project has that name.

        Of a `LabelStore` it takes the answers of `annotator`, or all its texts with what was suggested. The spans
        become this user's own: other users see the texts without them. `labels` are those to choose from (default:
        the store's, or those of the spans). `allow_overlapping` and `grapheme_mode` hold for a project that is made.
        The same text twice is two examples. A text that is there already is not sent again, so that a push that was
        cut off is simply made again.

        Raises:
            ValueError: spans, texts or labels that doccano would drop or bend, listed; nothing has been sent then.
            DoccanoError: the server failed; what it then holds is as it was given, and the same call completes it.
        """
        if isinstance(tasks, LabelStore):
            labels = tasks.labels if labels is None else labels
            tasks = [each.as_task for each in tasks.answered(annotator)] if annotator else tasks.tasks()
        tasks = list(tasks)
        found = self._find(project)
        overlaps = found["allow_overlapping"] if found else allow_overlapping
        check(tasks, overlaps, f"project {project!r}")
        labels = checked_labels(tasks, labels)
        unit = unit_of(found["grapheme_mode"] if found else grapheme_mode)
        rows = rows_to_send(tasks, unit, self.username)
        there = {} if found is None else self._by_uid(self._mine(found))
        if found is None:
            found = self._server.create_project(str(project), allow_overlapping, grapheme_mode)
        known = self._server.labels(found["id"])
        for number, label in enumerate(label for label in labels if label not in known):
            self._server.create_label(found["id"], label, COLORS[(len(known) + number) % len(COLORS)])
        new = [row for uid, row in rows.items() if uid not in there]
        told = [each for at in range(0, len(new), FILE_ROWS) for each in self._upload(found, new[at : at + FILE_ROWS])]
        if new:
            there |= self._compared(found, new, {row["id"] for row in there.values()}, told)
        differing = [uid for uid, row in rows.items() if content(row) != content(there[uid])]
        problems = tuple(
            Problem(shown(rows[uid]["text"]), "is in the project with other spans; they were left as they are")
            for uid in differing
        )
        spans = sum(len(row["label"]) for uid, row in rows.items() if uid not in set(differing))
        return Report(found["name"], found["id"], len(rows) - len(differing), spans, len(rows) - len(new), problems)

    def pull(self, project: str | int) -> dict[str, list[Task]]:
        """What each user of a project has labelled: {user: tasks}, in the order of the project.

        A task's answer is "accept" where the user has confirmed the text, and as it was pushed where the spans are
        still the pushed ones of that user; else None. Where users work on one set of labels together, the name is
        "all". Spans that lie outside their text or cut a character in two are left out and listed in `problems`.

        Raises:
            ValueError: there is no such project. DoccanoError: the server failed, or the user may not export.
        """
        found = self._find(project)
        if found is None:
            raise ValueError(f"{self.url} has no project {project!r} for {self.username}; it has: {self._names()}")
        self.problems = []
        unit = unit_of(found["grapheme_mode"])
        confirmed = {user: {row["id"] for row in rows} for user, rows in self._export(found, approved=True).items()}
        return {
            user: [self._task(row, user, row["id"] in confirmed.get(user, ()), unit) for row in rows]
            for user, rows in self._export(found).items()
        }

    def _find(self, project: str | int) -> dict[str, Any] | None:
        key = "id" if isinstance(project, int) else "name"
        found = [each for each in self._server.projects() if each[key] == project]
        if len(found) > 1:
            numbers = ", ".join(str(each["id"]) for each in found)
            raise ValueError(f"{len(found)} projects are called {project!r}; give one's number instead: {numbers}")
        if not found and isinstance(project, int):
            raise ValueError(f"{self.url} has no project {project} for {self.username}; it has: {self._names()}")
        return found[0] if found else None

    def _names(self) -> str:
        return ", ".join(f"{each['name']!r} ({each['id']})" for each in self._server.projects()) or "none"

    def _export(self, project: dict[str, Any], approved: bool = False) -> dict[str, list[dict[str, Any]]]:
        """{user: rows}."""
        with tempfile.TemporaryDirectory(prefix="scilab-doccano-") as folder:
            path = _on_disk(lambda: self._server.download(project["id"], Path(folder), approved, self.wait_s))
            try:
                with zipfile.ZipFile(path) as files:
                    return {Path(name).stem: read_rows(files.read(name), name) for name in files.namelist()}
            except zipfile.BadZipFile as error:
                raise DoccanoError(f"{self.url} sent no zip file but something else ({error}); try again") from error

    def _mine(self, project: dict[str, Any]) -> list[dict[str, Any]]:
        exported = self._export(project)
        if "all" in exported and self.username not in exported:
            return exported["all"]
        return exported.get(self.username, [])

    @staticmethod
    def _by_uid(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {row["uid"]: row for row in rows if isinstance(row.get("uid"), str)}

    def _upload(self, project: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
        # ASCII, because the server would guess the encoding; the same keys in each row, because a missing one becomes
        # a NaN that fails the whole file.
        lines = "".join(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in rows)
        with tempfile.TemporaryDirectory(prefix="scilab-doccano-") as folder:
            path = Path(folder) / "scilab.jsonl"
            _on_disk(lambda: path.write_text(lines, encoding="ascii"))
            return self._server.upload(project["id"], path, self.wait_s)

    def _compared(
        self, project: dict[str, Any], sent: list[dict[str, Any]], before: set[int], told: list[str]
    ) -> dict[str, dict[str, Any]]:
        """{uid: row} of what was sent, as the server has it now; what is there twice or in part is taken away again.

        Raises:
            DoccanoError: something is missing.
        """
        kept: dict[str, dict[str, Any]] = {}
        wrong, expected = [], {row["uid"]: row for row in sent}
        for row in self._mine(project):
            # Another user's copy of a text, sent at the same moment, is not ours to take away.
            own = row.get("uid") in expected and row.get("scilab") == expected[row["uid"]]["scilab"]
            if own and row["id"] not in before:
                right = content(row) == content(expected[row["uid"]])
                if right and row["uid"] not in kept:
                    kept[row["uid"]] = row
                else:
                    wrong.append(row["id"])
        if wrong:
            self._server.delete_examples(project["id"], wrong)
        missing = [row for uid, row in expected.items() if uid not in kept]
        if missing or told:
            raise DoccanoError(
                f"of {len(sent)} texts {len(kept)} arrived in {project['name']!r} whole, {len(missing)} did not "
                f"({listed(shown(row['text']) for row in missing)}). {self.url} says: {listed(told) or 'nothing'}. "
                "What arrived is as it was given. See the server's log (a full disk?), then push again: only what is "
                "missing will be sent"
            )
        return kept

    def _task(self, row: dict[str, Any], user: str, confirmed: bool, unit: Unit) -> Task:
        text, spans = row["text"], []
        offsets = unit(text)
        for each in row["label"]:
            try:
                spans += from_units(text, [each], offsets)
            except ValueError as error:
                reason = f"a span of {user} was left out: {error}; draw it again in doccano"
                self.problems.append(Problem(shown(text), reason))
        was = pushed(row)
        if was is None:
            meta = {key: value for key, value in row.items() if key not in ("id", "text", "label", "Comments")}
            return Task(text, tuple(spans), meta, "accept" if confirmed else None)
        original, by = was
        task = Task(text, tuple(spans), original.meta, None, original.extra)
        same = by == user and original.spans == task.spans
        return replace(task, answer="accept" if confirmed else original.answer if same else None)


def _on_disk(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise DoccanoError(
            f"a temporary file could not be written ({error}): make room in {tempfile.gettempdir()}, or set TMPDIR to "
            f"another folder ({os.environ.get('TMPDIR', 'it is not set')}). Nothing has changed on either side"
        ) from error
