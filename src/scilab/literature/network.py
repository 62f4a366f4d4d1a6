"""The spaCy pipeline that is trained: the chemical tokenizer, the features, a window CNN, a transition-based parser."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import spacy
from spacy.language import Language
from spacy.ml import parser_model
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Model, NumpyOps

from . import features
from .tokenizer import SPLIT, chemical_tokenizer

WIDTH, DEPTH, HIDDEN = 96, 4, 64
INCORRECT = "incorrect_spans"


class _Ops(NumpyOps):
    """numpy's matrix product, four times as fast on some processors as thinc's own (BLIS knows few of them), and
    dropout from numbers of its own: what other threads draw from numpy's must not change a training.
    """

    def __init__(self) -> None:
        super().__init__(use_blis=False)
        self.numbers = np.random.default_rng(0)

    def get_dropout_mask(self, shape: tuple[int, ...], drop: float | None) -> np.ndarray:
        """(shape): 0 with probability `drop`, else 1 / (1 - drop)."""
        if not drop:
            return np.ones(shape, dtype="f")
        return (self.numbers.random(shape, dtype="f") >= drop) / np.float32(1 - drop)


class _Shared(NumpyOps):
    """In the place of the one object from which spaCy's parser takes the dropout of its hidden layer: draws from the
    numbers of the network that this thread trains, and if it trains none of ours, as before.
    """

    def get_dropout_mask(self, shape: tuple[int, ...], drop: float | None) -> np.ndarray:
        """As `_Ops`, or as spaCy's."""
        ops = getattr(_training, "ops", None)
        return super().get_dropout_mask(shape, drop) if ops is None else ops.get_dropout_mask(shape, drop)


_training = threading.local()
parser_model.NUMPY_OPS = _Shared()


def learn(nlp: Language, docs: Sequence[Doc], optimizer: Adam, drop: float) -> float:
    """One step on these, in which nothing is drawn from numpy's global numbers; returns the loss, summed."""
    ner = nlp.get_pipe("ner")
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    _training.ops = ner.model.ops
    try:
        return float(ner.update(examples, drop=drop, sgd=optimizer)["ner"])
    finally:
        del _training.ops


def blank_network(labels: Sequence[str]) -> Language:
    """An untrained pipeline that knows `labels`; its weights are made by `initialise`.

    The parser is spaCy's (Honnibal et al., "Embed, encode, attend, predict", 2016; Nivre 2007 for its transitions).
    """
    nlp = spacy.blank("en")
    nlp.tokenizer = chemical_tokenizer(nlp)
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": WIDTH, "depth": DEPTH, "window_size": 1, "maxout_pieces": 3,
    }  # fmt: skip
    tok2vec = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {"@architectures": "scilab.ChemicalEmbed.v1", "width": WIDTH},
        "encode": encode,
    }
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner", "extra_state_tokens": False,
        "hidden_width": HIDDEN, "maxout_pieces": 2, "use_upper": True, "tok2vec": tok2vec,
    }  # fmt: skip
    # A cut of the texts at random places, spaCy's default, would draw from Python's global random numbers.
    settings = {"model": parser, "incorrect_spans_key": INCORRECT, "update_with_oracle_cut_size": 0}
    ner = nlp.add_pipe("ner", config=settings)
    for label in labels:
        ner.add_label(label)
    return nlp


def initialise(nlp: Language, seed: int) -> None:
    """Weights drawn from `seed`, and dropout from then on from numbers of the pipeline's own, set by `reseed`."""
    with _global_numbers(seed):
        nlp.initialize()
    ops = _Ops()
    for node in nlp.get_pipe("ner").model.walk():  # now, for the parser makes its last layer anew
        node.ops = ops


def reseed(nlp: Language, *numbers: int) -> None:
    """Dropout from here on depends on these numbers alone."""
    nlp.get_pipe("ner").model.ops.numbers = np.random.default_rng(numbers)


@contextlib.contextmanager
def _global_numbers(seed: int) -> Iterator[None]:
    """Thinc initialises from numpy's global numbers: lend it ours, give back what was there."""
    there, here = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(there)
        np.random.set_state(here)  # noqa: NPY002


def parameters(nlp: Language) -> list[tuple[Model, str]]:
    """(layer, name) of every tensor that is trained, in an order that depends on the architecture alone."""
    return [(node, name) for node in nlp.get_pipe("ner").model.walk() for name in node.param_names]


def code_digest() -> bytes:
    """Changes when the same weights would find other spans: another tokenizer, other features, another network."""
    told = (
        spacy.__version__, SPLIT, features.COLUMNS, features.ROWS, features.STEMS, features.PARTS.pattern,
        sorted(features.drug_names()), WIDTH, DEPTH, HIDDEN,
    )  # fmt: skip
    return blake2b(repr(told).encode(), digest_size=16).digest()
