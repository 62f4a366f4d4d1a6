"""The real texts on which recognisers are measured: where they come from, and how they are cut."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

from scilab.literature import Span, Task
from scilab.literature.split import normalised, place

# Abstracts of CORD-19 in which a person found no name of a drug, molecule, antibody or interferon (read one by one in
# November 2026, before any model saw them; nothing was tuned on them). Names in metadata.csv of any release.
DRUG_FREE = """
sgmk96vr wnnsmx60 zowp10ts p34ezktf l3z27806 zwbc7nnn tw6wusxe 58czem0j hwlvk68z w5fxen70 yxhk1qm3 j3p1u80n pk7pnmlo
1ypgij14 5fl0rk90 rr2wwvue 1n0rg5vd nzh87aux fvfjz7al x2zq0lnt hf3nytb2 s4y6uxsb n9sih438 yfn8sy1m 7gk8uzo0 cpz8yb16
fj9l8che 7jszm1nd 3ib99gup kamvao4b 7gmtp6km 4kpkhz0o p56v8wi1 tfcerilc 4tvrhpss i55gwn3s l0uya9dh dg10rf2f 5kapn32k
""".split()


def labelled(path: str | Path) -> list[Task]:
    """The sentences of covid-nlp's train_val.csv, copies (by normalised text) left out."""
    tasks, seen = [], set()
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file, delimiter="|"):
            tokens, tags = map(ast.literal_eval, row)
            text = " ".join(tokens)
            if normalised(text) not in seen:
                seen.add(normalised(text))
                tasks.append(Task(text, _spans(tokens, tags)))
    return tasks


def _spans(tokens: list[str], tags: list[str]) -> tuple[Span, ...]:
    found, place, inside = [], 0, False
    for token, tag in zip(tokens, tags, strict=True):
        if tag == "I" and inside:
            found[-1] = (found[-1][0], place + len(token))
        elif tag != "O":
            found.append((place, place + len(token)))
        inside = tag != "O"
        place += len(token) + 1
    return tuple(Span(start, end, "DRUG") for start, end in found)


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
