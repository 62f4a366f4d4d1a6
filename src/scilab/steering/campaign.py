"""A steered campaign as an iterator of records."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from ..planes import Stopped, opened
from .acquisitions import Acquisition, ucb
from .checks import check_slots, named, told
from .commands import CANDIDATE, POOLS, checked
from .log import event, plain, read, replay, take
from .policies import MultiFidelity, Streaming
from .records import (
    CampaignFinished,
    CampaignStarted,
    Evaluated,
    Failed,
    Learned,
    Notice,
    Paused,
    Refused,
    Resumed,
    Steered,
)
from .result_cache import ResultCache
from .retrain import every
from .state import State
from .surrogates import Forest
from .task_server import Lessons, TaskServer

TOGETHER = 64
"""So many records at most are kept by one transaction."""


@dataclass(frozen=True)
class Result:
    """What a campaign has found so far. `table` has a row for every simulation, in the order in which they ended:
    (candidate, fidelity, value or None, flag or the failure's reason or None).
    """

    best: float | None
    best_candidate: str | None
    hits: int
    simulations: int
    failed: int
    table: tuple[tuple[str, str, float | None, str | None], ...]


class Campaign:
    """A search for the candidates whose simulated value is highest (or lowest), steered by a model that it trains.

    `space` are texts such as SMILES; the same text twice is one candidate. `simulator(candidate)` returns a number, or
    a dict with "value", a "flag" if something was wrong with it, and plain details; two fidelities are given as a dict,
    the cheap one first. Values beyond `threshold` are hits. At most `budget` simulations of the last fidelity are
    started; the first model is trained after `initial` results, later ones when `retrain` says. `slots` are how many
    simulations and trainings may be under way at once; more simulations than the engine has workers wait at the engine,
    so that no worker waits for a decision. `timeout_s` and `retries` are each simulation's. `engine` is an `Engine`,
    `Sites` (then `sites` names one for each pool), a name such as "threads:2", or a name for each pool, which are then
    two sites over one data plane. `policy` decides (see `policies`), or a class of which each run makes one (see
    `thinker`). `written(text)` gives a candidate that a person types as the space writes it, or raises ValueError.
    `values` are kept for `settings`.

    Iterate to run: yields the records of `records`, which are also its state: from the records of any moment, a new
    campaign with the same arguments goes on where it was (`load_records`), and `replay` decides it all again.

    Raises ValueError if the arguments do not fit each other.
    """

    kind = "campaign"

    def __init__(
        self, space: Iterable[str], simulator: Callable | Mapping[str, Callable], *, budget: int = 200,
        threshold: float | None = None, maximize: bool = True, surrogate: Any = None,
        acquisition: Acquisition | None = None, retrain: Any = None, initial: int = 25,
        slots: Mapping[str, int] | None = None, policy: Any = None, engine: Any = "threads",
        timeout_s: float | None = None, retries: int = 0, cache: ResultCache | None = None,
        sites: Mapping[str, str] | None = None, seed: int = 0,
        written: Callable[[str], str] | None = None, values: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        texts = [space] if isinstance(space, str) else list(space)
        if strange := [text for text in texts if not isinstance(text, str) or not text.strip()]:
            raise ValueError(f"candidates are texts such as SMILES, got {strange[0]!r}")
        self.space = list(dict.fromkeys(texts))
        if not self.space:
            raise ValueError("the space is empty: give at least one candidate")
        self.duplicates = len(texts) - len(self.space)
        self.simulators = dict(simulator) if isinstance(simulator, Mapping) else {"full": simulator}
        if not self.simulators or not all(map(callable, self.simulators.values())):
            raise ValueError(f"simulator must be a function, or functions by fidelity, got {simulator!r}")
        for name, value in (("budget", budget), ("initial", initial)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
        self.retrain = every() if retrain is None else every(retrain) if isinstance(retrain, int) else retrain
        self.slots = {"simulate": 2, "learn": 1} if slots is None else dict(slots)
        check_slots(self.slots, learns=not getattr(self.retrain, "untrained", False))
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; give a number of seconds above 0, or None for no limit")
        if not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retries is {retries!r}; give a whole number, 0 or more")
        self.policy = Streaming() if policy is None else policy
        if isinstance(self.policy, MultiFidelity) and len(self.simulators) != 2:
            raise ValueError("MultiFidelity needs two simulators: {'cheap': function, 'full': function}")
        if isinstance(engine, Mapping):
            if sites or set(engine) != set(POOLS):
                raise ValueError(f"engines by pool are given for {' and '.join(POOLS)}, without sites, got {engine!r}")
            engine, sites = dict(engine), {pool: pool for pool in POOLS}
        self.sites = dict(sites or {})
        if strange := set(self.sites) - set(POOLS):
            raise ValueError(f"sites are given for the pools {' and '.join(POOLS)}, got {', '.join(sorted(strange))}")
        if known := getattr(engine, "engines", engine if isinstance(engine, dict) else None) if self.sites else {}:
            if strange := set(self.sites.values()) - set(known):
                raise ValueError(f"there is no site {sorted(strange)[0]!r}; there are {', '.join(known)}")
        elif self.sites:
            raise ValueError("sites are given, and the engine has none: give Sites({'here': …, 'there': …})")
        self.surrogate, self.acquisition = surrogate or Forest(), acquisition or ucb()
        self.budget, self.threshold, self.maximize = budget, threshold, maximize
        self.initial, self.timeout_s, self.retries, self.seed = initial, timeout_s, retries, seed
        self.cache, self._engine, self._written, self._values = cache, engine, written, values
        self.digest = blake2b("\0".join(self.space).encode(), digest_size=8).hexdigest()
        self._log: list[Any] = []
        self._state, self._decider = self._fresh(), self._thinking()
        self._last_digest = self._state.ranking.digest
        self._lock, self._session, self._early = threading.Lock(), None, []
        self._records = None  # weakly: a loop that is left with `break` ends the run

    def _fresh(self) -> State:
        return State(
            self.space, budget=self.budget, slots=self.slots, threshold=self.threshold, maximize=self.maximize,
            acquisition=self.acquisition, retrain=self.retrain, initial=self.initial,
            fidelities=tuple(self.simulators), seed=self.seed,
        )  # fmt: skip

    def _thinking(self) -> Any:
        """The policy; a new one of a class, whose objects may remember what they heard."""
        return self.policy() if isinstance(self.policy, type) else self.policy

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this campaign was given; with "values", all that `from_settings` needs."""
        return {
            "values": None if self._values is None else dict(self._values),
            "space": {"candidates": len(self.space), "digest": self.digest},
            "simulator": {name: told(each) for name, each in self.simulators.items()},
            "budget": self.budget,
            "threshold": self.threshold,
            "maximize": self.maximize,
            "surrogate": named(self.surrogate),
            "acquisition": asdict(self.acquisition),
            "retrain": named(self.retrain),
            "initial": self.initial,
            "slots": dict(self.slots),
            "policy": named(self.policy),
            "timeout_s": self.timeout_s,
            "retries": self.retries,
            "cache": None if self.cache is None else self.cache.file,
            "sites": dict(self.sites),
            "seed": self.seed,
            "engine": self._engine if isinstance(self._engine, str | dict) else self._engine.name,
        }

    @classmethod
    def from_settings(cls, values: Mapping[str, Any], engine: Any = None) -> Campaign:
        """The campaign that plain values describe (see `presets.DEFAULTS`), or the `settings` of one made so."""
        from .presets import campaign_arguments

        return cls(**campaign_arguments(values, engine))

    @property
    def total(self) -> int:
        """Simulations that the budget allows."""
        return min(self._state.budget, len(self._state.candidates))

    def __iter__(self) -> Iterator[Any]:
        """Run, from where the log ends."""
        return self._begun(record for batch in self._run(1) for record in batch)

    def batches(self) -> Iterator[list[Any]]:
        """As `__iter__`, in lists of records of what had come by then, for who keeps them: no decision waits for a disk
        while another completion is here already.
        """
        return self._begun(self._run(TOGETHER))

    def _begun(self, records: Iterator[Any]) -> Iterator[Any]:
        self._must_rest("iterating again")
        self._records = weakref.ref(records)
        return records

    def _run(self, at_most: int) -> Iterator[list[Any]]:
        with contextlib.ExitStack() as clean:
            clean.callback(self._ended)
            engine = clean.enter_context(opened(self._engine))
            session = engine.session(self.kind)
            clean.callback(session.close)
            state = self._state
            server = TaskServer(
                session, engine.store, self.simulators, self.surrogate, state, len(self.space), self.timeout_s,
                self.retries, self.cache, self.sites,
            )  # fmt: skip
            clean.callback(server.drop)
            clean.callback(session.close)  # before that: nothing may still look for what lies there
            with self._lock:
                for command in self._early:
                    session.send(command)
                self._session = session
            with contextlib.suppress(Stopped):
                if self._log:
                    yield from ([record] for record in self._resume(server))
                else:
                    start = CampaignStarted(
                        len(self.space), self.digest, self.duplicates, engine.workers, dict(state.slots), ""
                    )
                    yield [self._took(server, start)]
                while state.pending or state.training:
                    together, trouble = [], None
                    try:
                        item = session.next()
                        together += (Paused(*session.pauses.pop(0)) for _ in list(session.pauses))
                        while item is not None:
                            together += self._heard(server, item)
                            more = len(together) < at_most and (state.pending or state.training)
                            item = session.next(0.0) if more else None
                    except Exception as error:  # what was heard before it is told first
                        trouble = error
                    if together:
                        yield together
                    if trouble is not None:
                        raise trouble
                yield [self._finished()]

    def _heard(self, server: TaskServer, item: Any) -> list[Any]:
        """The record of what came, none if it was only a part of something."""
        if isinstance(item, dict):
            return [self._commanded(server, item)]
        event = server.event(item)
        if event is None:
            return []
        if not isinstance(event, Lessons):
            return [self._took(server, event)]
        lesson = event.lesson
        learned = Learned(
            lesson.decision.version, lesson.samples, lesson.decision.seed, "", (), lesson.train_s, lesson.infer_s,
            lesson.started, lesson.ended, tuple(lesson.tasks),
        )  # fmt: skip
        return [self._took(server, learned, event.mean, event.std)]

    def _commanded(self, server: TaskServer, command: dict[str, Any]) -> Any:
        if command.get("command") == "engine paused":
            return Notice(command["reason"])
        try:
            record = self._took(server, Steered(command, "", at=server.session.now))
        except ValueError as reason:
            return Refused(command, str(reason))
        if "cancel" in command:
            server.cancel(self._state.number[command["cancel"]])
        return record

    def _took(self, server: TaskServer, happened: Any, mean: Any = None, std: Any = None) -> Any:
        """The state takes an event in, the policy decides, and the decisions are on their way before anybody hears."""
        record = take(self._state, happened, self._decider, mean, std)
        for decision in record.then:
            server.start(decision)
        self._log.append(record)
        self._last_digest = getattr(record, "ranking", self._last_digest)
        return record

    def _resume(self, server: TaskServer) -> Iterator[Any]:
        """Make the log's last model again, then start again what was under way."""
        state, again, commands = self._state, len(self._state.pending), []
        reproduced = None
        if state.model is not None:
            server.start(state.model)
            while True:
                item = server.session.next()
                if isinstance(item, dict):
                    commands.append(item)
                elif isinstance(lessons := server.event(item), Lessons):
                    break
            state.predict(lessons.mean, lessons.std)
            state.rerank(again=True)
            reproduced = state.ranking.digest == self._last_digest
        for decision in [*([state.training] if state.training else []), *state.pending.values()]:
            server.start(decision)
        yield Resumed(len(state.outcomes), again, reproduced, server.session.engine.workers, dict(state.slots))
        for command in commands:
            yield self._commanded(server, command)

    def _finished(self) -> CampaignFinished:
        state = self._state
        reason = "the policy had nothing more to do"
        if not state.left:
            reason = f"the budget of {state.budget} simulations is used up"
        elif not state.ranking.open:
            reason = "no candidate is left"
        best = None if state.best_index is None else state.candidates[state.best_index]
        return CampaignFinished(reason, state.done[state.full], state.failed, state.best, best, state.hits)

    def _ended(self) -> None:
        with self._lock:
            self._session, self._early, self._records = None, [], None

    def _must_rest(self, before: str) -> None:
        if self._records is not None and self._records() is not None:
            raise RuntimeError(f"this campaign is running; stop it before {before}")

    def send(self, command: str | Mapping[str, Any]) -> None:
        """Pause, resume, stop, or a command of `commands.checked`; from any thread, also before the start.

        Raises:
            ValueError: a command that makes no sense. One that cannot be carried out now becomes a `Refused` record.
        """
        if isinstance(command, str):
            if command not in ("pause", "resume", "stop"):
                raise ValueError(f"a campaign understands 'pause', 'resume', 'stop' and dicts, got {command!r}")
        else:
            command = self._understood(command)
        with self._lock:
            if self._session is None:
                self._early.append(command)
            else:
                self._session.send(command)

    def _understood(self, command: Any) -> dict[str, Any]:
        command = checked(command)
        ((word, what),) = command.items()
        if word not in CANDIDATE:
            return command
        what = what if self._written is None else self._written(what)
        if word == "inject":
            try:  # now, and not when the next model needs them
                self.surrogate.features([what])
            except Exception as error:
                raise ValueError(f"{what!r} has no features for a model to learn from: {error}") from error
        return {word: what}

    def state_dict(self) -> dict[str, Any]:
        """The log so far, as plain data."""
        return {"records": [plain(record) for record in list(self._log)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `load_records`, from a `state_dict`."""
        self.load_records(state["records"])

    def load_records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Go on, when iterated, where these plain records end: nothing that they tell is simulated again, and what
        people asked for (a Run's `Command`) and was not answered yet is done.

        Raises:
            ValueError: they are of a campaign in another space.
        """
        self._must_rest("loading a log")
        records = list(records)
        events, state, decider = self._events(records), self._fresh(), self._thinking()
        self._last_digest = read(state, events, decider if isinstance(self.policy, type) else None)
        self._log, self._state, self._decider = events, state, decider
        asked = [self._understood(record["command"]) for record in records if record["kind"] == "Command"]
        for record in records:
            if record["kind"] in ("Steered", "Refused") and record["command"] in asked:
                asked.remove(record["command"])
        with self._lock:
            self._early = asked

    def _events(self, records: Iterable[Mapping[str, Any]]) -> list[Any]:
        events = [found for record in records if (found := event(record)) is not None]
        if events and not (isinstance(events[0], CampaignStarted) and events[0].digest == self.digest):
            raise ValueError("these records are of another space, or do not begin with a campaign's start")
        return events

    def replay(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Decide everything in a log again, every model trained anew; returns how many decisions there were.

        Raises:
            CampaignError: another decision or ranking than the log has; it says where.
            ValueError: the records are of another space.
        """
        return replay(self._fresh(), self._events(records), self._thinking(), self.surrogate, self.space)

    @property
    def result(self) -> Result:
        """What has been found so far."""
        state = self._state
        rows = tuple(
            (each.candidate, each.fidelity, each.value, each.flag) if isinstance(each, Evaluated)
            else (each.candidate, each.fidelity, None, each.reason)
            for each in list(self._log) if isinstance(each, Evaluated | Failed)
        )  # fmt: skip
        best = None if state.best_index is None else state.candidates[state.best_index]
        return Result(state.best, best, state.hits, len(rows), state.failed, rows)

    def close(self) -> None:
        """Stop if it runs; leaves nothing on the data plane. Idempotent."""
        records = self._records and self._records()
        if records is not None:
            self.send("stop")
            with contextlib.suppress(ValueError):  # a thread is inside and ends by the stop
                records.close()
                self._ended()
