"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .corpus import Corpus, part_of
from .doccano import Doccano
from .doccano_client import DoccanoError
from .extraction import Extraction
from .label_store import Answer, LabelStore, LabelStoreError
from .molecule_store import Mention, Molecule, MoleculeStore, MoleculeStoreError
from .molecules import Molecules
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
    "Doccano",
    "DoccanoError",
    "EpochFinished",
    "Extraction",
    "Found",
    "LabelStore",
    "LabelStoreError",
    "Mention",
    "Molecule",
    "MoleculeStore",
    "MoleculeStoreError",
    "Molecules",
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
