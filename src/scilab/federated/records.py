"""What a federation tells as it goes: small frozen records of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class RoundStarted:
    """Round `round` (from 1) begins with `devices` devices."""

    round: int
    devices: int


@dataclass(frozen=True)
class DeviceFinished:
    """A device has trained on its `samples` rows in `seconds`; `loss` is the mean over its last pass.

    `began` is when, in seconds since the run began. In simulated time `seconds` hold the way of the model and of the
    update, too. `staleness` is the number of versions that were made while the device was at it, where policies other
    than `Synchronous` let that happen.
    """

    round: int
    device: str
    samples: int
    loss: float
    seconds: float
    worker: str | None
    began: float | None = None
    staleness: int | None = None


@dataclass(frozen=True)
class DeviceFailed:
    """A device gave no update this round; the others are weighted without it."""

    round: int
    device: str
    reason: str


@dataclass(frozen=True)
class CohortFinished:
    """`devices` children of `parent` have trained, one after another or together, on `samples` rows in `seconds` in
    all; `loss` is their mean, weighted by samples. Takes the place of a `DeviceFinished` each in rounds of more than
    512 devices.
    """

    round: int
    parent: str
    devices: int
    samples: int
    loss: float
    seconds: float
    worker: str | None
    began: float | None = None


@dataclass(frozen=True)
class DevicesFailed:
    """As `DeviceFailed`, for all these `devices`, in rounds of more than 512."""

    round: int
    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class AggregatorFailed:
    """An aggregator could not sum up, however often it was run again; for this round `parent` took its children."""

    round: int
    aggregator: str
    parent: str
    reason: str


@dataclass(frozen=True)
class Notice:
    """Something a person should know, such as an engine that waits for a new sign-in."""

    text: str


@dataclass(frozen=True)
class RoundFinished:
    """A round is over and the new model in place; `accuracy` and `loss` are the new model's on the test data.

    `train_loss` is the mean of the devices' losses, weighted by samples. Bytes are those that moved on the data plane,
    `bytes_by_tier[d]` = (down, up) over the edges between depth d and d + 1. `failed` counts devices without an update.
    `network`, where a federation runs over another tree's links, holds the bytes with every hop counted: (multicast,
    unicast) on the way down. In simulated time `seconds` is the makespan, and `idle` the share of it in which the
    devices that were asked neither trained nor had a message on its way. `staleness` counts the round's updates by
    staleness: (versions, updates) pairs; None where all tiers are synchronous. Where the coordinator does not wait, a
    round is over with every as many updates as there are devices, and `bytes_by_tier` holds what arrived meanwhile.
    """

    checkpoint: ClassVar[bool] = True
    advances: ClassVar[bool] = True

    round: int
    accuracy: float | None
    loss: float | None
    seconds: float
    bytes_down: int
    bytes_up: int
    bytes_by_tier: tuple[tuple[int, int], ...]
    failed: int
    train_loss: float | None
    network: tuple[int, int] | None = None
    idle: float | None = None
    staleness: tuple[tuple[int, int], ...] | None = None
