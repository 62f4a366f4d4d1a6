"""From papers to molecules with a person in the loop: read, label, train, suggest, extract."""

from .agreement import Agreement, Difference, Standing, agreements, difference, disagreements, standings
from .corpus import Corpus
from .covid_nlp import ScreenedMolecule, labelled_sentences, screened_molecules
from .doccano import Doccano
from .doccano_client import DoccanoError
from .extraction import Extraction
from .label_store import Answer, LabelStore, LabelStoreError
from .molecule_store import Mention, Molecule, MoleculeStore, MoleculeStoreError
from .molecules import Molecules
from .papers import Paper, Paragraph, Problem
from .recogniser import Found, Recogniser
from .sample import sample_tasks
from .sampling import POLICIES, Suggestion, next_texts
from .scoring import Scores, Share, score
from .simulated_annotator import SimulatedAnnotator
from .simulation import CurvePoint, area, compared, simulate
from .spans import Span, check_spans, overlapping, snap
from .tasks import Task
from .training import EpochFinished, Training, TrainingStarted

__all__ = [
    "POLICIES",
    "Agreement",
    "Answer",
    "Corpus",
    "CurvePoint",
    "Difference",
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
    "ScreenedMolecule",
    "Share",
    "SimulatedAnnotator",
    "Span",
    "Standing",
    "Suggestion",
    "Task",
    "Training",
    "TrainingStarted",
    "agreements",
    "area",
    "check_spans",
    "compared",
    "difference",
    "disagreements",
    "labelled_sentences",
    "next_texts",
    "overlapping",
    "sample_tasks",
    "score",
    "screened_molecules",
    "simulate",
    "snap",
    "standings",
]
