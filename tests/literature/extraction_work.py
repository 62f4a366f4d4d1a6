"""An extraction in a process of its own, to be killed: it says each record on a line."""

import sys

from small_recogniser import ListRecogniser

from scilab.literature import Corpus
from scilab.literature.extraction import Extraction

DRUGS = ("remdesivir", "aspirin", "ibuprofen", "chloroquine", "vitamin C")
PAPERS = 120


def papers():
    """Each names two drugs, in ever new company."""
    return [
        f"In trial {n} we gave {DRUGS[n % 5]} daily. Patients on {DRUGS[(n * 3 + 1) % 5].upper()} were well. "
        f"No other drug was used in arm {n}."
        for n in range(PAPERS)
    ]


def extraction(to, engine="threads:2", slow_s=0.0, **options):
    recogniser = ListRecogniser(DRUGS, slow_s=slow_s)
    return Extraction(Corpus.texts(papers()), recogniser, engine=engine, to=to, chunk_words=60, **options)


def rows(store):
    """All that the table tells."""
    return store.mentions(), store.molecules(order="key"), store.counts()


if __name__ == "__main__":
    for record in extraction(sys.argv[1], slow_s=0.02):
        print(type(record).__name__, flush=True)
