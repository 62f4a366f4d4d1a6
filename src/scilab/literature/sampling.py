"""What to label next: a few texts that should teach much, and always a few drawn at random.

On the CORD-19 paper's set the most uncertain texts alone taught less than random ones (F1 .683 to .772 at 200 labels,
one seed): a young model is most unsure about tables, references and junk. So texts are filtered, long ones cost what
they take to read, a name is asked for once, and a share is drawn at random, so that the rest can be judged by it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .recogniser import Found, Recogniser
from .tasks import Task

FEWEST_WORDS, MOST_WORDS = 4, 300
READABLE = 0.6
"""The least share of a text's characters that are letters or spaces; below lie tables, formulas and references."""
READING = 10.0
"""Words' worth of time that a text takes besides its words."""


@dataclass(frozen=True)
class Suggestion:
    """A text to label, `why` it was chosen, its worth for each word read (0 if drawn at random), and by which arm."""

    task: Task
    why: str
    score: float
    arm: str


def next_texts(
    recogniser: Recogniser | None, pool: Sequence[Task], labelled: Iterable[Task], n: int, *, policy: str = "new names",
    random_share: float = 1 / 3, seed: int = 0, most_words: int = MOST_WORDS,
) -> list[Suggestion]:  # fmt: skip
    """`n` texts of `pool` (fewer, if it has fewer), none of them among `labelled`, in the order to show them.

    `policy` is one of `POLICIES`. Before there is a recogniser all are drawn at random, and a share `random_share`
    afterwards; these, spread among the others, are the random arm. Random ones are drawn from all of the pool, the
    others from texts of 4 to `most_words` words that are mostly prose.

    Raises:
        ValueError: an argument that makes no sense.
    """
    if policy not in POLICIES:
        raise ValueError(f"there is no policy {policy!r}; choose one of {', '.join(POLICIES)}")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n is how many texts to suggest, a whole number from 1; got {n!r}")
    if not 0 < random_share <= 1:
        raise ValueError(
            "random_share is above 0 (without random texts nobody knows what the policy is worth) and at most 1; "
            f"got {random_share!r}"
        )
    labelled = list(labelled)
    known = {task.text for task in labelled}
    fresh = list({task.text: task for task in pool if task.text not in known}.values())
    rng = random.Random(f"{seed} {len(labelled)} next texts")
    n = min(n, len(fresh))
    blind = n if recogniser is None or policy == "random" else max(1, round(n * random_share))
    drawn = rng.sample(fresh, blind)
    why = "drawn at random" + (": there is no model yet" if recogniser is None else ", to judge the others by")
    control = [Suggestion(task, why, 0.0, "random") for task in drawn]
    chosen: list[Suggestion] = []
    if blind < n:
        taken = {task.text for task in drawn}
        readable = [task for task in fresh if task.text not in taken and suits(task.text, most_words)]
        chosen = _chosen(recogniser, readable, labelled, n - blind, POLICIES[policy])
        rest = [task for task in fresh if task.text not in taken | {each.task.text for each in chosen}]
        missing = n - blind - len(chosen)
        why = "drawn at random: nothing else is worth asking"
        control += [Suggestion(task, why, 0.0, "random") for task in rng.sample(rest, min(missing, len(rest)))]
    return _spread(chosen, control)


def suits(text: str, most_words: int = MOST_WORDS) -> bool:
    """Whether a person can read this as prose in one go."""
    words = len(text.split())
    plain = sum(letter.isalpha() or letter == " " for letter in text)
    return FEWEST_WORDS <= words <= most_words and plain >= READABLE * len(text)


Worth = Callable[[str, Found, Counter], tuple[float, str]]


def _uncertain(name: str, found: Found, known: Counter) -> tuple[float, str]:
    """Highest at a score of one half."""
    return 4 * found.score * (1 - found.score), "unsure of it"


def _new_names(name: str, found: Found, known: Counter) -> tuple[float, str]:
    """Uncertainty, weighted by how rarely the name was labelled before."""
    worth, _ = _uncertain(name, found, known)
    times = known[name.lower()]
    return (worth + 0.25 * found.score) / (1 + times), "a new name" if not times else f"labelled {times} times before"


POLICIES: dict[str, Worth | None] = {"new names": _new_names, "uncertain": _uncertain, "random": None}


def _chosen(
    recogniser: Recogniser, tasks: Sequence[Task], labelled: Sequence[Task], n: int, worth: Worth
) -> list[Suggestion]:
    """The `n` that are worth most a word read; each candidate name counts for one text only."""
    known = Counter(task.text[span.start : span.end].lower() for task in labelled for span in task.spans)
    ranked = []
    for task, found in zip(tasks, recogniser.candidates([task.text for task in tasks], at_least=0.05), strict=True):
        rated = []
        for each in found:
            name = task.text[each.start : each.end]
            if any(letter.isalpha() for letter in name):
                value, why = worth(name, each, known)
                rated.append((value, name, each.score, why))
        if rated:
            ranked.append((rated, task))
    chosen, asked = [], Counter()
    ranked.sort(key=lambda pair: -_rate(*pair, asked)[0])
    for rated, task in ranked:
        if len(chosen) == n:
            break
        rate, (_, name, score, why) = _rate(rated, task, asked)
        if rate <= 0:
            continue
        chosen.append(Suggestion(task, f"“{name}”: {why} (score {score:.2f})", rate, "policy"))
        asked.update({name.lower() for _, name, _, _ in rated})
    return chosen


def _rate(rated: list, task: Task, asked: Counter) -> tuple[float, tuple]:
    """(worth a word read, the candidate that gives most of it)."""
    fresh = [(0.0 if asked[each[1].lower()] else each[0], *each[1:]) for each in rated]
    best = max(fresh, key=lambda each: (each[0], each[1]))
    # Further names of a text count too, but less and less: a list of drugs is not worth ten texts.
    total = sum(value / 2**rank for rank, (value, *_) in enumerate(sorted(fresh, key=lambda each: -each[0])))
    return total / (READING + len(task.text.split())), best


def _spread(chosen: list[Suggestion], control: list[Suggestion]) -> list[Suggestion]:
    """Both in their order, the control evenly among the others."""
    place = {id(each): (n + 0.5) / len(group) for group in (chosen, control) for n, each in enumerate(group)}
    return sorted([*chosen, *control], key=lambda each: place[id(each)])
