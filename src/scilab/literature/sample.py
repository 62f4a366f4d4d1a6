"""The embedded sample: short papers of our own writing, every drug in them labelled and checked by hand.

The papers, their authors' findings and figures are invented; the drugs are real. About half of the paragraphs name no
drug. A DRUG here is a small-molecule medicine or candidate, by its generic name, brand name, code or abbreviation; not
a class of drugs ("antivirals"), a vaccine, antibody, protein or other biological, a dye or laboratory reagent, nor a
substance of the body. The names of a combination are two spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from . import prodigy_file
from .papers import Paper, Paragraph, Problem
from .tasks import Task

_FILE = Path(__file__).with_name("sample.jsonl")


@cache
def sample_tasks() -> tuple[Task, ...]:
    """The labelled paragraphs, titles too, in the order of the papers; `meta` as from Paper.tasks."""
    return tuple(prodigy_file.read(_FILE))


class SampleSource:
    """The sample's papers as a source for a Corpus."""

    def __init__(self) -> None:
        self.settings = {"corpus": "sample"}

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """The papers in order; there are no problems."""
        for (paper, title, published), tasks in groupby(
            sample_tasks(), key=lambda task: (task.meta["paper"], task.meta["title"], task.meta["published"])
        ):
            paragraphs = tuple(Paragraph(task.text, task.meta["section"], task.meta["index"]) for task in tasks)
            yield Paper(paper, title, published, paragraphs)

    def digest(self) -> str:
        """The sample changes only with the package."""
        return str(_FILE.stat().st_size)
