"""Choosing what to label beside labelling at random, by simulated annotators, at equal words read.

Two pools: the sentences of covid-nlp's train_val.csv (70 % by hash; tested on 15 %), each of which holds a drug; and
one in which three quarters hold none: a quarter of those sentences, stretches between the names of others, and
sentences of CORD-19 abstracts that were read by hand. Its test is mixed likewise, of other texts. The area under the
curve of F1 over words read is compared seed by seed; the interval of the mean difference is Student's, 95 %. The first
texts are the same for both arms. Last line: one JSON object.

    python tests/benchmarks/active_learning.py --data train_val.csv --cord19 metadata.csv [--seeds 5] [--keep FOLDER]
"""

import argparse
import json
import os
import random
import re
import statistics
import time
from dataclasses import asdict
from pathlib import Path

from labelled_sets import drug_free_abstracts, labelled, rounded, thirds
from metering import machine
from scipy.stats import t

from scilab.literature import CurvePoint, Task, compared, simulate
from scilab.literature.augmentation import stretch
from scilab.literature.lessons import lessons

POLICY, CONTROL = "new names", "random"
SPENT = {"start_words": 1000, "words_a_round": 1000, "rounds": 2, "epochs": 6, "look_at": 300}


def pools(data, cord19):
    """name → (pool, test)."""
    train, dev, test = thirds(labelled(data))
    rng = random.Random(0)
    abstracts = drug_free_abstracts(cord19)
    empty = [[], []]
    for number, task in enumerate(abstracts):
        empty[number % 2] += [Task(line) for line in re.split(r"(?<=[.?!]) (?=[A-Z])", task.text)]
    held = len(train) // 4
    mixed = [*train[:held], *empty[0], *between(train[held:], 3 * held - len(empty[0]), rng)]
    tested = [*test[:150], *empty[1], *between(dev, 450 - len(empty[1]), rng)]
    return {"every text holds a drug": (train, test), "three quarters hold none": (mixed, tested)}


def between(tasks, n, rng):
    """Texts that people left unmarked: `n` stretches between the names of labelled sentences."""
    made = (stretch(each, rng) for each in lessons(tasks, ("DRUG",)))
    return [Task(each.text) for each in made if each is not None][:n]


def mean_and_interval(values):
    mean = statistics.fmean(values)
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean, [mean - half, mean + half]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("COVID_NLP_TRAIN"), help="covid-nlp's train_val.csv")
    parser.add_argument("--cord19", default=os.environ.get("CORD19_METADATA"), help="CORD-19's metadata.csv")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder for the curves, which are used again")
    given = parser.parse_args()
    began, figures = time.process_time(), {"policy": POLICY, "seeds": given.seeds, **SPENT}
    for name, (pool, test) in pools(given.data, given.cord19).items():
        curves = {POLICY: [], CONTROL: []}
        for seed in range(given.seeds):
            for policy, found in curves.items():
                kept = given.keep and given.keep / f"{name} {policy} {seed}.json"
                if kept and kept.exists():
                    found.append([CurvePoint(**each) for each in json.loads(kept.read_text())])
                    continue
                found.append(list(simulate(pool, test, policy, seed=seed, **SPENT)))
                if kept:
                    kept.write_text(json.dumps([asdict(point) for point in found[-1]]))
                print(name, policy, seed, [(each.words, round(each.f1, 3)) for each in found[-1]], flush=True)
        differences = compared(curves[POLICY], curves[CONTROL])
        mean, interval = mean_and_interval(differences)
        figures[name] = {
            "pool_texts": len(pool), "with_a_drug": sum(bool(task.spans) for task in pool), "test_texts": len(test),
            "area_difference": mean, "area_difference_interval": interval, "by_seed": differences,
            "f1_at_the_end": {key: statistics.fmean(each[-1].f1 for each in found) for key, found in curves.items()},
            "words_read": {key: statistics.fmean(each[-1].words for each in found) for key, found in curves.items()},
        }  # fmt: skip
    figures["cpu_s"] = time.process_time() - began
    print(json.dumps(rounded(figures) | {"machine": machine("spacy", "thinc", "numpy")}))


if __name__ == "__main__":
    main()
