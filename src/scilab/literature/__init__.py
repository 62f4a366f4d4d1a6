"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .agreement import Agreement, Difference, Standing, agreements, difference, disagreements, standings
from .corpus import Corpus
from .covid_nlp import ScreenedMolecule, labelled_sentences, screened_molecules
from .label_store import Answer, LabelStore, LabelStoreError
from .papers import Paper, Paragraph, Problem
from .recogniser import Found, Recogniser
from .sample import sample_tasks
from .scoring import Scores, Share, score
from .simulated_annotator import SimulatedAnnotator
from .spans import Span, check_spans, overlapping, snap
from .tasks import Task
from .training import EpochFinished, Training, TrainingStarted

__all__ = [
    "Agreement",
    "Answer",
    "Corpus",
    "Difference",
    "EpochFinished",
    "Found",
    "LabelStore",
    "LabelStoreError",
    "Paper",
    "Paragraph",
    "Problem",
    "Recogniser",
    "Scores",
    "ScreenedMolecule",
    "Share",
    "SimulatedAnnotator",
    "Span",
    "Standing",
    "Task",
    "Training",
    "TrainingStarted",
    "agreements",
    "check_spans",
    "difference",
    "disagreements",
    "labelled_sentences",
    "overlapping",
    "sample_tasks",
    "score",
    "screened_molecules",
    "snap",
    "standings",
]
