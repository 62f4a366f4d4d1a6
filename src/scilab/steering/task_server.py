"""Decisions become tasks, and completions become events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from ..planes import Completion, EngineError, Key
from .learning import PIECE, examples, fit, predict
from .records import Decision, Evaluated, Failed, LearningTask, Reallocate, Simulate, Train
from .result_cache import ResultCache, identity, result_key
from .state import State


class CampaignError(RuntimeError):
    """A campaign cannot go on: its surrogate or policy failed, or the log is not its own."""


@dataclass(frozen=True)
class Known:
    """What the cache knew."""

    body: dict[str, Any]


def known(body: dict[str, Any]) -> Known:
    """The task of a simulation that need not be run."""
    return Known(body)


@dataclass(eq=False)
class Lesson:
    """A training under way, then the pieces of its inference."""

    decision: Train
    samples: int
    more: list[str]
    model: Key | None = None
    train_s: float = 0.0
    infer_s: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    tasks: list[LearningTask] = field(default_factory=list)
    left: deque[int] = field(default_factory=deque)
    means: dict[int, np.ndarray] = field(default_factory=dict)
    stds: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Lessons:
    """A lesson is over: the predictions (n,) of all candidates."""

    lesson: Lesson
    mean: np.ndarray
    std: np.ndarray


class TaskServer:
    """Sends what a campaign decides to a session, and tells what comes back. One thread's."""

    def __init__(
        self, session: Any, store: Any, simulators: Mapping[str, Callable], surrogate: Any, state: State, base: int,
        timeout_s: float | None, retries: int, cache: ResultCache | None, sites: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.session, self.store, self.state, self.base = session, store, state, base
        self.simulators, self.surrogate = simulators, surrogate
        self.cache, self.sites = cache, sites
        self.limits = {"timeout_s": timeout_s, "retries": retries}
        self.identities = {name: identity(function) for name, function in simulators.items()} if cache else {}
        self.tasks: dict[int, Simulate] = {}
        self.numbers: dict[tuple[int, str], int] = {}
        self.lessons: dict[int, tuple[Lesson, int | None]] = {}
        self.space: Key | None = None
        self.models: list[Key] = []

    def start(self, decision: Decision) -> None:
        """Send a decision on its way. What the cache knows takes the same way, without being computed."""
        if isinstance(decision, Reallocate):  # the state has done it
            return
        if isinstance(decision, Train):
            self._train(decision)
            return
        kept = self._known(decision)
        if kept is None:
            number = self.session.submit(
                self.simulators[decision.fidelity], decision.candidate,
                tag=("simulate", decision.index, decision.fidelity), **self.limits, **self._at("simulate"),
            )  # fmt: skip
        else:
            number = self.session.submit(
                known, kept, tag=("cached", decision.index, decision.fidelity), ahead=True, **self._at("simulate")
            )
        self.tasks[number] = decision
        self.numbers[decision.index, decision.fidelity] = number

    def cancel(self, index: int) -> None:
        """Give up all simulations of a candidate; each ends as a failure."""
        for key, number in list(self.numbers.items()):
            if key[0] == index:
                self.session.cancel(number)

    def event(self, completion: Completion) -> Evaluated | Failed | Lessons | None:
        """What a completion means; None if only a part of something has ended.

        Raises:
            EngineError, CampaignError: the engine, or the surrogate, failed.
        """
        if completion.failure is not None and completion.failure.kind == "engine":
            raise EngineError(str(completion.failure))
        if completion.task in self.lessons:
            return self._lesson(completion, *self.lessons.pop(completion.task))
        decision = self.tasks.pop(completion.task)
        del self.numbers[decision.index, decision.fidelity]
        timing = completion.timing
        when = {
            "submitted": timing.submitted, "sent": timing.sent, "started": timing.started, "ended": timing.ended,
            "received": timing.received, "heard": self.session.now,
            "serialized": timing.serialized if any(timing.serialized) else None,
            "worker": completion.worker, "attempts": completion.attempts,
        }  # fmt: skip
        failure = completion.failure
        if failure is not None:
            lost = failure.kind == "lost"
            event = self._failed(decision, failure.kind, str(failure), lost, when)
            if lost and self.cache is not None:
                self._keep(decision, {"lost": event.error})
            return event
        if isinstance(completion.value, Known):
            kept, when = completion.value.body, when | {"cached": True}
            if "lost" in kept:
                return self._failed(decision, "lost", kept["lost"], True, when)
            return self._evaluated(decision, kept["value"], kept["flag"], kept["details"], when)
        try:
            value, flag, details = unfolded(completion.value)
        except ValueError as error:
            return self._failed(decision, "not a number", str(error), False, when)
        if self.cache is not None:
            self._keep(decision, {"value": value, "flag": flag, "details": details})
        return self._evaluated(decision, value, flag, details, when)

    def drop(self) -> None:
        """Let go of what lies on the data plane, when the session has been closed."""
        for key in [*self.models, *([self.space] if self.space is not None else [])]:
            if self.store.holds(key):
                self.store.release(key)

    # ---- simulations -----------------------------------------------------------------------------------------------

    def _evaluated(self, decision: Simulate, value: float, flag: str | None, details: dict, when: dict) -> Evaluated:
        state = self.state
        counts = decision.fidelity == state.full
        best, hits, hit = state.best, state.hits, False
        if flag is None and counts:
            hit = state.beyond(value)
            best, hits, _ = state.standing(value)
        return Evaluated(
            decision.index, decision.candidate, decision.fidelity, value, hit, best, hits, flag, details,
            decision.model, decision.predicted, decision.uncertainty, counts=counts, **when,
        )  # fmt: skip

    def _failed(self, decision: Simulate, reason: str, error: str, quarantined: bool, when: dict) -> Failed:
        return Failed(
            decision.index, decision.candidate, decision.fidelity, reason, error, quarantined,
            counts=decision.fidelity == self.state.full, **when,
        )  # fmt: skip

    def _known(self, decision: Simulate) -> dict[str, Any] | None:
        if self.cache is None:
            return None
        return self.cache.get(result_key(self.identities[decision.fidelity], decision.candidate))

    def _keep(self, decision: Simulate, body: dict[str, Any]) -> None:
        self.cache.put(result_key(self.identities[decision.fidelity], decision.candidate), body)

    def _at(self, pool: str) -> dict[str, str]:
        return {"at": self.sites[pool]} if pool in self.sites else {}

    # ---- learning --------------------------------------------------------------------------------------------------

    def _train(self, decision: Train) -> None:
        state = self.state
        if self.space is None:
            self.space = self.store.put((self.surrogate.features, state.candidates[: self.base]))
        rows, values, lessons = examples(state, decision.rows, getattr(self.surrogate, "wants", ""))
        lesson = Lesson(decision, len(rows), state.candidates[self.base : decision.candidates])
        address = self.store.address(at_writer="learn" in self.sites)  # the model stays where it will be read
        number = self.session.submit(
            fit, self.space, self.surrogate, lesson.more, rows, values, lessons, decision.seed, address,
            tag=("train", decision.version), uses=self._uses(self.space), outputs=(address,), ahead=True,
            **self._at("learn"),
        )  # fmt: skip
        self.lessons[number] = lesson, None

    def _lesson(self, completion: Completion, lesson: Lesson, low: int | None) -> Lessons | None:
        if completion.failure is not None:
            what = "training" if low is None else "inference"
            raise CampaignError(f"{what} of model {lesson.decision.version} failed: {completion.failure}")
        timing = completion.timing
        lesson.ended = timing.ended
        lesson.tasks.append(LearningTask(
            "train" if low is None else "infer", timing.submitted, timing.sent, timing.started, timing.ended,
            timing.received, self.session.now, completion.worker,
        ))  # fmt: skip
        if low is None:
            lesson.model, lesson.train_s = completion.value
            lesson.started = timing.started or timing.submitted
            for key in self.models:
                self.store.release(key)
            self.models = [lesson.model] if self.store.holds(lesson.model) else []
            lesson.left.extend(range(0, lesson.decision.candidates, PIECE))
            for _ in range(max(1, self.state.slots["learn"])):
                self._infer(lesson)
            return None
        lesson.means[low], lesson.stds[low], seconds = completion.value
        lesson.infer_s += seconds
        self._infer(lesson)
        if len(lesson.means) * PIECE < lesson.decision.candidates:
            return None
        mean, std = (np.concatenate([part[at] for at in sorted(part)]) for part in (lesson.means, lesson.stds))
        return Lessons(lesson, mean, std)

    def _infer(self, lesson: Lesson) -> None:
        if not lesson.left:
            return
        low = lesson.left.popleft()
        high = min(low + PIECE, lesson.decision.candidates)
        number = self.session.submit(
            predict, self.space, self.surrogate, lesson.more, lesson.model, low, high,
            tag=("infer", lesson.decision.version), uses=self._uses(self.space, lesson.model), ahead=True,
            **self._at("learn"),
        )  # fmt: skip
        self.lessons[number] = lesson, low

    def _uses(self, *keys: Key) -> tuple[Key, ...]:
        return tuple(key for key in keys if self.store.holds(key))


def unfolded(result: Any) -> tuple[float, str | None, dict[str, Any]]:
    """(value, flag, details) of what a simulator returned: a number, or a dict with "value" and, if it likes, "flag".

    Raises:
        ValueError: it is neither, or the value is no finite number.
    """
    details: dict[str, Any] = {}
    flag, value = None, result
    if isinstance(result, Mapping):
        if "value" not in result:
            raise ValueError(f"the simulator returned a dict without 'value': {str(result)[:200]}")
        details = {str(name): each for name, each in result.items() if name not in ("value", "flag")}
        value, flag = result["value"], result.get("flag")
        if not (flag is None or isinstance(flag, str)):
            raise ValueError(f"the simulator's flag is {flag!r}; give text, or None")
    if isinstance(value, bool) or not (isinstance(value, Real) or getattr(value, "shape", None) == ()):
        raise ValueError(f"the simulator returned a {type(value).__name__}; give a number, or a dict with 'value'")
    if not isfinite(number := float(value)):
        raise ValueError(f"the simulator returned {number}")
    return number, flag, details
