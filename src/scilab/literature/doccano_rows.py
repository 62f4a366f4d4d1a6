"""The lines that go to a doccano server and come back, and what is refused before it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

from .doccano_client import DoccanoError
from .offsets import grapheme_offsets, in_units, utf16_offsets
from .spans import overlapping, shown
from .tasks import Task

LISTED = 5
"""How many of many problems a message names."""


Unit = Callable[[str], Sequence[int | None]]
"""Of a text, the offset that doccano has for each code point and the end, see `offsets`."""


def unit_of(grapheme_mode: bool) -> Unit:
    """What doccano counts places in a text by."""
    return grapheme_offsets if grapheme_mode else utf16_offsets


def _numbered(tasks: Sequence[Task]) -> Iterable[tuple[str, Task]]:
    """(uid, task): the same for the same text in every push; the second task with a text has another than the first."""
    seen: dict[str, int] = {}
    for task in tasks:
        digest = blake2b(task.text.encode(), digest_size=12).hexdigest()
        seen[digest] = seen.get(digest, 0) + 1
        yield f"{digest}-{seen[digest]}", task


def rows_to_send(tasks: Sequence[Task], unit: Unit, username: str) -> dict[str, dict[str, Any]]:
    """{uid: a line of the file}. Raises ValueError for spans that the unit cannot hold, listed."""
    rows, problems = {}, []
    for uid, task in _numbered(tasks):
        # As text: a number in it would come back rounded to ten digits, a missing one as null.
        whole = json.dumps({"by": username, "task": task.to_prodigy()}, ensure_ascii=True)
        try:
            label = in_units(task.text, task.spans, unit(task.text))
        except ValueError as error:
            problems.append(str(error))
            continue
        rows[uid] = {"text": task.text, "label": label, "uid": uid, "scilab": whole}
    if problems:
        raise ValueError(f"nothing was sent: {listed(problems)}. Correct these, or leave them out")
    return rows


def pushed(row: dict[str, Any]) -> tuple[Task, str] | None:
    """The task of a row as it was pushed, and by whom; None if it came to the server by another way."""
    try:
        whole = json.loads(row["scilab"])
        return Task.from_prodigy(whole["task"]), whole["by"]
    except (KeyError, TypeError, ValueError):
        return None


def content(row: dict[str, Any]) -> tuple:
    """What must be the same there and here."""
    return row["text"], tuple(sorted(map(tuple, row["label"])))


def read_rows(data: bytes, name: str) -> list[dict[str, Any]]:
    """The lines of an exported file. Split at "\\n" alone: a raw U+2028 in a text is no end of a line."""
    rows = []
    for number, line in enumerate(data.decode("utf-8").split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DoccanoError(f"line {number} of doccano's file {name} is no JSON ({error})") from error
    return rows


def checked_labels(tasks: Sequence[Task], labels: Sequence[str] | None) -> list[str]:
    """`labels` and those of the spans; ValueError for one that doccano would change."""
    used = {span.label for task in tasks for span in task.spans}
    labels = list(dict.fromkeys([*(labels or ()), *sorted(used)]))
    for label in labels:
        if not 0 < len(label) <= 100 or label != label.strip():
            raise ValueError(f"doccano's labels have 1 to 100 characters and no space at their ends, got {label!r}")
    return labels


def check(tasks: Sequence[Task], overlaps: bool, where: str) -> None:
    """Raises ValueError for what doccano would silently drop or bend."""
    if not tasks:
        raise ValueError("there is nothing to push: give at least one task")
    problems = []
    for number, task in enumerate(tasks, 1):
        if not task.text:
            problems.append(f"text {number} is empty, which doccano refuses")
        if "\0" in task.text:
            problems.append(f"text {number}, {shown(task.text)}, holds a NUL character, which databases refuse")
        if not overlaps:
            pairs = overlapping(task.spans)
            problems += [f"text {number}, {shown(task.text)}: {one} and {other} overlap" for one, other in pairs]
    if problems:
        hint = "" if overlaps else f" Overlapping spans go only into a project that allows them, and {where} does not."
        raise ValueError(f"nothing was sent: {listed(problems)}.{hint} Correct these, or leave them out")


def listed(texts: Iterable[str]) -> str:
    """The first of many, and how many more."""
    texts = list(texts)
    more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return "; ".join(texts[:LISTED]) + more
