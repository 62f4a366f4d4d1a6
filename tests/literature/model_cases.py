"""Small labelled texts on which a network learns something within seconds."""

from __future__ import annotations

import random

from scilab.literature import Span, Task

DRUGS = (
    "remdesivir", "favipiravir", "ribavirin", "lopinavir", "ritonavir", "oseltamivir", "imatinib",
    "gefitinib", "azithromycin", "erythromycin", "fluconazole", "itraconazole", "losartan", "valsartan",
    "atorvastatin", "simvastatin", "ampicillin", "amoxicillin", "levofloxacin",
)  # fmt: skip
PATTERNS = (
    "Patients were treated with {} for ten days .",
    "The effect of {} on viral load was small .",
    "We compared {} with {} in a randomised trial .",
    "{} inhibits replication in Vero cells .",
)
EMPTY = (
    "The virus was isolated from a throat swab of the patient .",
    "Contacts of cases were traced and asked to stay at home .",
    "Sequences were aligned and a tree was inferred .",
)


def labelled(n: int, seed: int = 0, empty: bool = True) -> list[Task]:
    """`n` accepted texts, every fourth without a drug; each is different."""
    rng, tasks = random.Random(seed), []
    for number in range(n):
        if empty and number % 4 == 3:
            tasks.append(Task(f"{rng.choice(EMPTY)} Case {number} .", (), {}, "accept"))
            continue
        pattern = rng.choice(PATTERNS)
        names = rng.sample(DRUGS, pattern.count("{}"))
        text, spans = "", []
        for piece, name in zip(pattern.split("{}"), [*names, ""], strict=True):
            text += piece
            if name:
                spans.append(Span(len(text), len(text) + len(name), "DRUG"))
                text += name
        tasks.append(Task(f"{text} Case {number} .", tuple(spans), {}, "accept"))
    return tasks
