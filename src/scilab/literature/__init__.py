"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .corpus import Corpus, part_of
from .label_store import Answer, LabelStore, LabelStoreError
from .papers import Paper, Paragraph, Problem
from .recogniser import Found, Recogniser
from .sample import sample_tasks
from .sampling import POLICIES, Suggestion, next_texts
from .scoring import Scores, Share, score
from .simulation import CurvePoint, area, compared, simulate
from .spans import Span, check_spans, overlapping, snap
from .tasks import Task
from .training import EpochFinished, Training, TrainingStarted

__all__ = [
    "POLICIES",
    "Answer",
    "Corpus",
    "CurvePoint",
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
    "Suggestion",
    "Task",
    "Training",
    "TrainingStarted",
    "area",
    "check_spans",
    "compared",
    "next_texts",
    "overlapping",
    "part_of",
    "sample_tasks",
    "score",
    "simulate",
    "snap",
]
