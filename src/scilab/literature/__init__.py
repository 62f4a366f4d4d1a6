"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .corpus import Corpus, part_of
from .label_store import Answer, LabelStore, LabelStoreError
from .papers import Paper, Paragraph, Problem
from .sample import sample_tasks
from .spans import Span, check_spans, overlapping, snap
from .tasks import Task

__all__ = [
    "Answer",
    "Corpus",
    "LabelStore",
    "LabelStoreError",
    "Paper",
    "Paragraph",
    "Problem",
    "Span",
    "Task",
    "check_spans",
    "overlapping",
    "part_of",
    "sample_tasks",
    "snap",
]
