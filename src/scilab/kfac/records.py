"""What a race tells as it goes: small frozen records of plain values.

Seconds are a racer's own: of its steps alone, not of evaluation and not of the others' steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class RaceStarted:
    """The race begins, or goes on, after `epoch` epochs and `step` steps of the next; the rest is what it runs on."""

    epoch: int
    step: int
    steps_per_epoch: int
    ranks: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class StepFinished:
    """A racer's newest step; about five a second are told. `loss` is of its batch, over all ranks.

    For a racer with K-FAC: λ, ν, ⟨V, ∇L⟩ and cos(∇L, V) by layer, as `KFAC.report` has them.
    """

    racer: str
    epoch: int
    step: int
    seconds: float
    loss: float
    lr: float
    damping: float | None = None
    scale: float | None = None
    product: float | None = None
    cosines: dict[str, float] | None = None


@dataclass(frozen=True)
class RankUse:
    """One rank in one epoch: bytes that K-FAC holds there, mean bytes received a step by purpose, and its GPU.

    `gpu_bytes` is the peak that torch allocated, `gpu_busy` the share of time that the GPU was busy as its driver
    says; None where there is no GPU, or no driver library to ask.
    """

    rank: int
    device: str
    factors: int
    decompositions: int
    received: dict[str, float]
    gpu_bytes: int | None = None
    gpu_busy: float | None = None


@dataclass(frozen=True)
class RacerEpoch:
    """A racer at the end of an epoch: mean loss of the epoch's batches, loss and accuracy on the test data.

    `ms` are milliseconds a step by stage, as rank 0 sees them. `spectra` are `QUANTILES` of the eigenvalues of A and of
    G by layer, of the layers that rank 0 preconditions; `ranks` is empty without K-FAC.
    """

    racer: str
    train_loss: float
    loss: float
    accuracy: float | None
    seconds: float
    ms: dict[str, float]
    damping: float | None = None
    scale: float | None = None
    product: float | None = None
    cosines: dict[str, float] | None = None
    spectra: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] | None = None
    ranks: tuple[RankUse, ...] = ()


@dataclass(frozen=True)
class EpochFinished:
    """An epoch of all racers that are still in the race."""

    checkpoint: ClassVar[bool] = True
    advances: ClassVar[bool] = True

    epoch: int
    racers: tuple[RacerEpoch, ...]


@dataclass(frozen=True)
class Changed:
    """A person changed `what` of some racers; it holds from the coming step on. `seconds` are all racers' own."""

    epoch: int
    step: int
    what: dict[str, float]
    racers: tuple[str, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class RacerFailed:
    """A racer is out, the others go on."""

    racer: str
    epoch: int
    step: int
    reason: str


@dataclass(frozen=True)
class Held:
    """The race was stopped within an epoch; nothing of what was done is lost."""

    checkpoint: ClassVar[bool] = True

    epoch: int
    step: int


@dataclass(frozen=True)
class Notice:
    """Something a person should know, such as a layer that K-FAC leaves to the optimizer."""

    text: str
