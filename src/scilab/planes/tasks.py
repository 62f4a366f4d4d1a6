"""The words of the control plane: what goes to a worker, what comes back, and how a task can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Stopped(Exception):
    """Raised by :meth:`Session.next` once a person has asked the work to stop."""


class EngineError(RuntimeError):
    """An engine could not start, or can no longer run tasks; the text says why and what to do."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no value, as plain text: nothing a worker raised is ever unpickled here.

    ``kind`` is one of ``raised`` (the function raised), ``timeout`` (it ran past its limit), ``lost`` (its
    worker died on every attempt), ``cancelled``, ``unsendable`` (what it got or returned cannot be sent) or
    ``engine`` (the engine failed under it).
    """

    kind: str
    error_type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}" if self.message else self.error_type


@dataclass(frozen=True)
class Timing:
    """Unix times in seconds: when the task was submitted, and of its last attempt when it was sent to a worker, begun
    and ended there, and when the report of it was back. `serialized` are the seconds that its arguments took to pickle
    and to unpickle, and its value likewise; all 0 on threads, where nothing is pickled.
    """

    submitted: float
    started: float | None
    ended: float
    sent: float | None = None
    received: float | None = None
    serialized: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def seconds(self) -> float:
        """How long the worker was busy with it; 0 if no worker ever began."""
        return 0.0 if self.started is None else self.ended - self.started


@dataclass(frozen=True)
class Completion:
    """The one end of one task: a value or a failure."""

    task: int
    tag: Any
    value: Any
    failure: Failure | None
    timing: Timing
    worker: str | None
    attempts: int

    @property
    def ok(self) -> bool:
        return self.failure is None


@dataclass
class Task:
    """A task on our side of the plane, from submission to its one completion."""

    number: int
    tag: Any
    function: Callable
    args: tuple
    kwargs: dict
    timeout_s: float | None
    retries: int
    uses: tuple
    outputs: tuple
    submitted: float
    session: Any
    ahead: bool = False
    attempts: int = 0
    losses: int = 0
    moves: int = 0
    sent: float | None = None
    pickled_s: float = 0.0
    begun: list = field(default_factory=list)
    ended: bool = False

    @property
    def may_try_again(self) -> bool:
        """Whether it has retries left; being moved to another pool uses up none."""
        return self.attempts - self.moves <= self.retries


@dataclass(frozen=True)
class Report:
    """What a worker sends back: plain data only, the value pickled apart so that a bad one costs one task."""

    value: Any
    failure: tuple | None
    started: float
    ended: float
    worker: str
    hits: int = 0
    misses: int = 0
    edges: tuple = ()
    serialized: tuple = (0.0, 0.0)
