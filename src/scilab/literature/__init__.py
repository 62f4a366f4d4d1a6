"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .corpus import Corpus, part_of
from .label_store import Answer, LabelStore, LabelStoreError
from .papers import Paper, Paragraph, Problem
from .recogniser import Found, Recogniser
from .sample import sample_tasks
from .scoring import Scores, Share, score
from .spans import Span, check_spans, overlapping, snap
from .tasks import Task
from .training import EpochFinished, Training, TrainingStarted

__all__ = [
    "Answer",
    "Corpus",
    "EpochFinished",
    "Found",
    "LabelStore",
    "LabelStoreError",
    "Paper",
    "Paragraph",
    "Problem",
    "Recogniser",
    "Scores",
    "Share",
    "Span",
    "Task",
    "Training",
    "TrainingStarted",
    "check_spans",
    "overlapping",
    "part_of",
    "sample_tasks",
    "score",
    "snap",
]
