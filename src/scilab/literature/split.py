"""Which texts are held out: by a hash, so that a text never changes sides however many others are labelled later."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import sha256

from .tasks import Task


def normalised(text: str) -> str:
    """Lower case, compatible forms made one (NFKC), punctuation and runs of space as single spaces: copies of a text
    that differ in no more than that are one text.
    """
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).lower()).strip()


def place(task: Task) -> float:
    """From 0 to 1, by the hash of the task's paper if its meta names one, else of its normalised text."""
    paper = task.meta.get("paper")
    told = normalised(task.text) if paper is None else f"paper {paper}"
    return int.from_bytes(sha256(told.encode()).digest()[:8]) / 2**64


def held_out(tasks: Sequence[Task], share: float) -> tuple[list[Task], list[Task]]:
    """(those to train on, the share held out). Texts without spans are held out like any other."""
    kept = [task for task in tasks if place(task) >= share]
    return kept, [task for task in tasks if place(task) < share]
