"""The real texts on which recognisers are measured: where they come from, and how they are cut."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from scilab.literature import Task, labelled_sentences
from scilab.literature.split import normalised, place

# Abstracts of CORD-19 in which a person found no name of a drug, small molecule or interferon (read one by one in
# November 2026, before any model saw them; nothing was tuned on them). Names in metadata.csv of any release.
DRUG_FREE = (
    "sgmk96vr", "wnnsmx60", "zowp10ts", "p34ezktf", "l3z27806", "zwbc7nnn", "tw6wusxe", "58czem0j",
    "hwlvk68z", "w5fxen70", "yxhk1qm3", "j3p1u80n", "pk7pnmlo", "1ypgij14", "5fl0rk90", "rr2wwvue",
    "1n0rg5vd", "nzh87aux", "fvfjz7al", "x2zq0lnt", "hf3nytb2", "s4y6uxsb", "n9sih438", "yfn8sy1m",
    "7gk8uzo0", "cpz8yb16", "fj9l8che", "7jszm1nd", "3ib99gup", "kamvao4b", "7gmtp6km", "4kpkhz0o",
    "p56v8wi1", "tfcerilc", "4tvrhpss", "i55gwn3s", "l0uya9dh", "dg10rf2f", "5kapn32k",
)  # fmt: skip


def labelled(path: str | Path | None) -> list[Task]:
    """The sentences of covid-nlp's train_val.csv (None: checked download), copies by normalised text left out."""
    return list({normalised(task.text): task for task in labelled_sentences("train_val", path)}.values())


def thirds(tasks: list[Task]) -> tuple[list[Task], list[Task], list[Task]]:
    """70 % to train on, 15 % to choose by, 15 % to report, by the hash of the normalised text."""
    return (
        [task for task in tasks if place(task) < 0.70],
        [task for task in tasks if 0.70 <= place(task) < 0.85],
        [task for task in tasks if place(task) >= 0.85],
    )


def drug_free_abstracts(metadata: str | Path) -> list[Task]:
    """The abstracts of `DRUG_FREE`; ValueError if the file lacks one."""
    with open(metadata, newline="", encoding="utf-8") as file:
        abstracts = {row["cord_uid"]: row["abstract"] for row in csv.DictReader(file)}
    if missing := [name for name in DRUG_FREE if not abstracts.get(name)]:
        raise ValueError(f"{metadata} lacks the abstracts of {', '.join(missing)}; give CORD-19's metadata.csv")
    return [Task(abstracts[name]) for name in DRUG_FREE]


def rounded(value: Any) -> Any:
    """Plain numbers of four digits behind the point, in whatever holds them."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, np.integer):
        return int(value)
    return round(float(value), 4) if isinstance(value, float) else value
