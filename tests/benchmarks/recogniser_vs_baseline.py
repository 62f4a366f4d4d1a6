"""Our recogniser beside a blank spaCy CNN trained on the same sentences in the same process.

The labelled set of the CORD-19 paper's train_val.csv is cut 70/15/15 by a hash of the normalised text; the best epoch
is chosen on the second part, the figures are of the third, over the seeds given. The blank CNN is `spacy init config
--pipeline ner --optimize efficiency` with that configuration's optimiser, batches and dropout;
it has six epochs, ours are three networks of four.
False mentions are counted on abstracts of CORD-19 that were read by hand and name no drug. Training is CPU time; set
OMP_NUM_THREADS=1. A seed's counts are kept in --keep, if given, and used again. Last line: one JSON object.

    python tests/benchmarks/recogniser_vs_baseline.py --data train_val.csv --cord19 metadata.csv [--seeds 0 1 2]
"""

import argparse
import json
import os
import random
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from labelled_sets import drug_free_abstracts, labelled, rounded, thirds
from metering import machine
from spacy.cli.init_config import init_config
from spacy.training import Example
from spacy.util import fix_random_seed, load_model_from_config, registry
from thinc.api import NumpyOps

from scilab.literature import Span, Training, sample_tasks, score
from scilab.literature.augmentation import drug_free
from scilab.literature.features import drug_names
from scilab.literature.scoring import Share, interval, names

EPOCHS = 6
NETWORKS, OUR_EPOCHS = 3, 4
"""Chosen on the second part of the texts, where more epochs were no better."""


class Blank:
    """The rival: spaCy's own tokenizer, features, network and training loop."""

    def __init__(self, train, dev, seed, known):
        fix_random_seed(seed)
        config = init_config(lang="en", pipeline=["ner"], optimize="efficiency")
        self.nlp = load_model_from_config(config, auto_fill=True)
        docs = [self.doc(task) for task in train]
        self.nlp.initialize(lambda: [Example(self.nlp.make_doc(doc.text), doc) for doc in docs])
        optimizer = registry.resolve({"optimizer": config["training"]["optimizer"]})["optimizer"]
        batcher = registry.resolve({"batcher": config["training"]["batcher"]})["batcher"]
        numbers = NumpyOps(use_blis=False)  # as ours has: four times as fast here, and the same network otherwise
        for node in (node for _, pipe in self.nlp.pipeline for node in pipe.model.walk()):
            node.ops = numbers
        best, rng = None, random.Random(seed)
        for _ in range(EPOCHS):
            rng.shuffle(docs)
            examples = [Example(self.nlp.make_doc(doc.text), doc) for doc in docs]
            for batch in batcher(examples):
                self.nlp.update(batch, sgd=optimizer, drop=0.1)
            f1 = score(self.find, dev, known).f1
            if best is None or f1 > best[0]:
                best = f1, self.nlp.to_bytes()
        self.nlp.from_bytes(best[1])

    def doc(self, task):
        """Spans that spaCy's tokens cannot hold are lost to training, as with `spacy convert`."""
        doc = self.nlp.make_doc(task.text)
        spans = [doc.char_span(span.start, span.end, label=span.label) for span in task.spans]
        doc.set_ents([span for span in spans if span is not None])
        return doc

    def find(self, texts):
        for doc in self.nlp.pipe(texts):
            yield tuple(Span(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)


def ours(train, dev, seed):
    negatives = (*drug_free(), *(task.text for task in sample_tasks() if not task.spans))
    training = Training(train, labels=("DRUG",), dev=dev, epochs=OUR_EPOCHS, seed=seed, negatives=negatives,
                        networks=NETWORKS)  # fmt: skip
    for _ in training:
        pass
    return training.result


def counts(scores, unlisted, free, cpu_s):
    return {
        "unlisted": [unlisted.unseen.hits, unlisted.unseen.of],
        "counts": [scores.right, scores.found, scores.true],
        "unseen": [scores.unseen.hits, scores.unseen.of],
        "false": free.false_free, "words": free.words_free, "cpu_s": cpu_s,
    }  # fmt: skip


def one_seed(seed, parts, free):
    train, dev, test = parts
    known = names(train)
    began = time.process_time()
    blank = Blank(train, dev, seed, known)
    middle = time.process_time()
    result = ours(train, dev, seed)
    ended = time.process_time()
    figures = {"reliability": [asdict(each) for each in result.reliability]}
    for name, find, seconds in (
        ("blank", blank.find, middle - began), ("ours", result.recogniser.find, ended - middle)
    ):  # fmt: skip
        unlisted = score(find, test, known | drug_names())  # names that neither training nor the gazetteer has
        figures[name] = counts(score(find, test, known), unlisted, score(find, free), seconds)
    return figures


def pooled(seeds, name):
    """(3, texts) counts, summed over the seeds."""
    return np.sum([each[name]["counts"] for each in seeds], axis=0)


def f1(counts):
    right, found, true = counts.sum(axis=-1)
    return 2 * right / (found + true)


def summary(seeds):
    ours, blank = pooled(seeds, "ours"), pooled(seeds, "blank")
    drawn = np.random.default_rng(0).integers(ours.shape[1], size=(2000, ours.shape[1]))  # texts, the same for both
    first, second = f1(ours[:, drawn]), f1(blank[:, drawn])
    figures = {"seeds": len(seeds), "test_texts": ours.shape[1], "epochs": {"blank": EPOCHS, "ours": OUR_EPOCHS},
               "networks": NETWORKS}  # fmt: skip
    for name, counts, drawn_f1 in (("ours", ours, first), ("blank", blank, second)):
        hits, of = (sum(each[name]["unseen"][n] for each in seeds) for n in (0, 1))
        unlisted = [sum(each[name]["unlisted"][n] for each in seeds) for n in (0, 1)]
        unseen = Share(round(hits / len(seeds)), of // len(seeds))  # seeds share their texts: no more names than these
        words = sum(each[name]["words"] for each in seeds)
        figures[name] = {
            "f1": f1(counts), "f1_interval": interval(drawn_f1),
            "f1_by_seed": [f1(np.array(each[name]["counts"])) for each in seeds],
            "precision": counts[0].sum() / counts[1].sum(), "recall": counts[0].sum() / counts[2].sum(),
            "unlisted_recall": unlisted[0] / max(1, unlisted[1]), "unlisted_names": unlisted[1] // len(seeds),
            "unseen_recall": hits / of, "unseen_interval": unseen.interval, "unseen_names": unseen.of,
            "false_per_1000_words": 1000 * sum(each[name]["false"] for each in seeds) / words,
            "drug_free_words": words // len(seeds), "training_cpu_s": max(each[name]["cpu_s"] for each in seeds),
        }  # fmt: skip
    figures["f1_gain"], figures["f1_gain_interval"] = f1(ours) - f1(blank), interval(first - second)
    figures["false_mentions_ratio"] = figures["ours"]["false_per_1000_words"] / figures["blank"]["false_per_1000_words"]
    figures["reliability"] = seeds[0]["reliability"]
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("COVID_NLP_TRAIN"), help="covid-nlp's train_val.csv")
    parser.add_argument("--cord19", default=os.environ.get("CORD19_METADATA"), help="CORD-19's metadata.csv")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="a folder for the counts of each seed")
    given = parser.parse_args()
    parts, free = thirds(labelled(given.data)), drug_free_abstracts(given.cord19)
    seeds = []
    for seed in given.seeds:
        kept = given.keep and given.keep / f"recogniser-{seed}.json"
        if kept and kept.exists():
            figures = json.loads(kept.read_text())
        else:
            figures = one_seed(seed, parts, free)
            if kept:
                kept.write_text(json.dumps(figures))
        seeds.append(figures)
        print(seed, json.dumps(rounded(summary([figures]))), flush=True)
    print(json.dumps(rounded(summary(seeds)) | {"machine": machine("spacy", "thinc", "numpy")}))


if __name__ == "__main__":
    main()
