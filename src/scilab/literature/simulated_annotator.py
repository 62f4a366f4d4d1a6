"""Annotators that a program plays, with the slips people make. What they do is always called simulated."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .spans import Span, check_spans
from .tasks import Task

SIMULATED = "simulated"
"""How the names of simulated annotators begin."""


@dataclass(frozen=True)
class SimulatedAnnotator:
    """Marks texts whose spans are known, with slips drawn for each (seed, text): the same text, the same slips.

    Args:
        number: of this annotator; its name is "simulated <number>".
        misses: chance that a span is overlooked.
        cuts: chance that a span of several words is marked without its first or last word.
        invents: chance, for each word outside of spans, that it is marked. (0.002 is one word in 500.)
        label: of invented spans.
    """

    number: int
    misses: float = 0.1
    cuts: float = 0.1
    invents: float = 0.002
    label: str = "DRUG"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("misses", "cuts", "invents"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a chance from 0 to 1, got {getattr(self, name)!r}")

    @property
    def name(self) -> str:
        """As answers name it."""
        return f"{SIMULATED} {self.number}"

    def mark(self, task: Task) -> tuple[Span, ...]:
        """The spans it marks in a task whose `spans` are the truth."""
        chance = random.Random(f"{self.seed} {self.number} {task.text}").random
        spans = [self._cut(task.text, span, chance) for span in task.spans if chance() >= self.misses]
        for word in re.finditer(r"\w{3,}", task.text):
            outside = all(word.end() <= span.start or span.end <= word.start() for span in task.spans)
            if outside and chance() < self.invents:
                spans.append(Span(*word.span(), self.label))
        return check_spans(task.text, spans)

    def mark_all(self, tasks: Iterable[Task]) -> list[Task]:
        """The tasks as this annotator accepts them."""
        return [
            Task(task.text, self.mark(task), task.meta, "accept", {**task.extra, "_annotator_id": self.name})
            for task in tasks
        ]

    def _cut(self, text: str, span: Span, chance) -> Span:
        words = [word.span() for word in re.finditer(r"\S+", text[span.start : span.end])]
        if len(words) < 2 or chance() >= self.cuts:
            return span
        words = words[1:] if chance() < 0.5 else words[:-1]
        return Span(span.start + words[0][0], span.start + words[-1][1], span.label)
