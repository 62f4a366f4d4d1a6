"""What a campaign tells as it goes. Every record holds, in `then`, the decisions that followed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Simulate:
    """Decided: simulate a candidate, because `why`; what the model of version `model` (0: none) said of it, under the
    ranking with this digest.
    """

    index: int
    candidate: str
    fidelity: str
    why: str
    model: int
    ranking: str
    predicted: float | None = None
    uncertainty: float | None = None
    what: str = "simulate"


@dataclass(frozen=True, slots=True)
class Train:
    """Decided: train version `version` with this seed, on what is usable of the first `rows` outcomes, to rank the
    first `candidates` candidates (all that there are then).
    """

    version: int
    rows: int
    candidates: int
    seed: int
    why: str
    what: str = "train"


@dataclass(frozen=True, slots=True)
class Reallocate:
    """Decided: move `n` slots from the pool `source` to the pool `to`."""

    source: str
    to: str
    n: int
    what: str = "reallocate"


Decision = Simulate | Train | Reallocate


@dataclass(frozen=True, slots=True)
class CampaignStarted:
    """`space` different candidates, known by their digest (`duplicates` more were the same as others), on an engine of
    `workers`; `slots` by pool, to begin with.
    """

    space: int
    digest: str
    duplicates: int
    workers: int
    slots: dict[str, int]
    ranking: str
    then: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A simulation gave `value`. With a `flag` (such as "rearranged") it is told and kept, but no model learns from it
    and it is no hit.

    `best` and `hits` are those so far, with this one. `predicted`, `uncertainty` and `model` are those of the decision.
    Times are in unix seconds (in virtual time, in seconds from the start): submitted to the engine, sent to a worker,
    begun and ended there, its report received, and heard by the campaign. `serialized` are the seconds that it took to
    pickle and unpickle its arguments and its value, in this order, None where nothing is pickled. `cached`: the value
    came from the result cache and no worker was asked. `counts`: it takes of the budget.
    """

    index: int
    candidate: str
    fidelity: str
    value: float
    hit: bool
    best: float | None
    hits: int
    flag: str | None
    details: dict[str, Any]
    model: int
    predicted: float | None
    uncertainty: float | None
    submitted: float | None = None
    sent: float | None = None
    started: float | None = None
    ended: float | None = None
    received: float | None = None
    heard: float | None = None
    serialized: tuple[float, float, float, float] | None = None
    worker: str | None = None
    attempts: int = 0
    cached: bool = False
    counts: bool = True
    then: tuple[Decision, ...] = ()

    @property
    def advances(self) -> bool:
        return self.counts


@dataclass(frozen=True, slots=True)
class Failed:
    """A simulation gave no value. `reason`: raised, timeout, lost (it killed every worker that tried), cancelled, not
    a number, unsendable. `quarantined`: never to be tried again, here or by a campaign with the same result cache.
    """

    index: int
    candidate: str
    fidelity: str
    reason: str
    error: str
    quarantined: bool
    submitted: float | None = None
    sent: float | None = None
    started: float | None = None
    ended: float | None = None
    received: float | None = None
    heard: float | None = None
    serialized: tuple[float, float, float, float] | None = None
    worker: str | None = None
    attempts: int = 0
    cached: bool = False
    counts: bool = True
    then: tuple[Decision, ...] = ()

    @property
    def advances(self) -> bool:
        return self.counts


@dataclass(frozen=True, slots=True)
class LearningTask:
    """One task of a training ("train") or of the inference after it ("infer"), with times as in `Evaluated`."""

    what: str
    submitted: float
    sent: float | None
    started: float | None
    ended: float
    received: float | None
    heard: float
    worker: str | None


@dataclass(frozen=True, slots=True)
class Learned:
    """Version `version` of the model has been trained on `samples` values and has ranked all candidates.

    `top` are the first few of the queue: (candidate, predicted, uncertainty, score). `train_s` and `infer_s` are
    seconds on workers, `started` and `ended` times as in `Evaluated`, `tasks` all that it took.
    """

    version: int
    samples: int
    seed: int
    ranking: str
    top: tuple[tuple[str, float, float, float], ...]
    train_s: float
    infer_s: float
    started: float
    ended: float
    tasks: tuple[LearningTask, ...] = ()
    then: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Steered:
    """A person's act has been carried out; `ranking` is the digest of the queue's ranking afterwards, `top` its first
    few as in `Learned`, `slots` those of each pool, `hits` those by the threshold, `at` when, by the campaign's clock.
    """

    command: dict[str, Any]
    ranking: str
    at: float = 0.0
    top: tuple[tuple[str, float, float, float], ...] = ()
    slots: dict[str, int] | None = None
    hits: int = 0
    then: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A person's act could not be carried out, for this reason; nothing has changed."""

    command: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Taken up from a log of `outcomes`; `again` simulations were under way and are run again. `reproduced`: the
    model of the log, trained anew, ranks the candidates as it did (None: there was none). `workers` and `slots` as in
    `CampaignStarted`.
    """

    outcomes: int
    again: int
    reproduced: bool | None
    workers: int
    slots: dict[str, int]


@dataclass(frozen=True, slots=True)
class Paused:
    """People had paused it, from when to when, in unix seconds; told when it goes on."""

    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know, such as an engine that waits for a new sign-in."""

    text: str


@dataclass(frozen=True, slots=True)
class CampaignFinished:
    """Why it is over, and what it found."""

    reason: str
    simulations: int
    failed: int
    best: float | None
    best_candidate: str | None
    hits: int
