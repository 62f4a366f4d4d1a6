"""Thinker agents: a policy written as the methods of a class, in the words of Colmena (L. Ward et al. 2021), without
its threads.

A campaign's one loop calls the methods when something has happened for them; so none of them waits, polls or locks,
and what they decide is logged and replayed as any policy's. Give a campaign the class itself:

    class Mine(Thinker):
        @task_submitter("simulate")
        def submit(self):                       # whenever a slot of the pool is free
            self.simulate()                     # the first of the queue

        @result_processor()
        def judge(self, result):                # each result, each failure
            if self.state.results % 20 == 0:
                self.set("enough is known")

        @event_responder("enough is known", reallocate=("simulate", "learn", 1))
        def learn(self):
            self.train()

    Campaign(space, simulator, policy=Mine, …)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .commands import POOLS
from .ranking import OPEN
from .records import CampaignStarted, Decision, Evaluated, Failed, Learned, Reallocate, Simulate, Train
from .state import State
from .task_server import CampaignError


def agent(function: Callable | None = None, *, startup: bool = False) -> Callable:
    """Runs from the start. A generator gets each event of the campaign from its `yield`; when an agent has ended,
    nothing more is submitted, unless it was one for the `startup`.
    """
    return _mark(function, "agent", startup=startup)


def task_submitter(pool: str = "simulate", n_slots: int = 1) -> Callable:
    """Called while `n_slots` slots of the pool are free, until it submits nothing."""
    if pool not in POOLS or not isinstance(n_slots, int) or n_slots < 1:
        raise ValueError(f"a task_submitter is for slots of {' or '.join(POOLS)}, got {n_slots!r} of {pool!r}")
    return lambda function: _mark(function, "submitter", pool=pool, n_slots=n_slots)


def result_processor(fidelity: str | None = None) -> Callable:
    """Called with each `Evaluated` and `Failed`, or those of one fidelity only."""
    return lambda function: _mark(function, "processor", fidelity=fidelity)


def event_responder(event: str, reallocate: tuple[str, str, int] | None = None) -> Callable:
    """Called once after `set(event)`, however often it was set meanwhile. Before that so many slots are moved from one
    pool to the other (as many as there are), and back when the next model is there.
    """
    if reallocate is not None and {*reallocate[:2]} != set(POOLS):
        raise ValueError(f"slots move between {' and '.join(POOLS)}, got {reallocate!r}")
    return lambda function: _mark(function, "responder", event=event, reallocate=reallocate)


def _mark(function: Callable | None, role: str, **how: Any) -> Callable:
    if function is None:
        return lambda function: _mark(function, role, **how)
    function.thinks = (role, how)
    return function


class Thinker:
    """Subclass it; its methods have `state` to read, and decide by `simulate`, `train`, `reallocate` and `set`.

    An agent that raises ends the campaign with its name and message. When a campaign is taken up again, a new object
    hears the whole log, so that its attributes are what they were; what it decides then has been done already.
    """

    state: State

    def __init__(self) -> None:
        self.done = False
        """Whether nothing more is to be submitted; the campaign ends when what runs has ended."""
        self._then: list[Decision] = []
        self._set: dict[str, None] = {}
        self._lent: list[tuple[str, str, int]] = []
        self._agents: list[tuple[str, Any, bool]] = []
        # In the order of the source, those of a base class first.
        names = dict.fromkeys(name for kind in reversed(type(self).__mro__) for name in vars(kind))
        self._methods = [method for name in names if hasattr(method := getattr(self, name), "thinks")]

    # ---- what methods use ------------------------------------------------------------------------------------------

    def free(self, pool: str) -> int:
        """Slots that nothing uses, after what has been decided just now."""
        moved = dict.fromkeys(POOLS, 0)
        for each in self._then:
            if isinstance(each, Reallocate):
                moved[each.source] -= each.n
                moved[each.to] += each.n
            else:
                moved["learn" if isinstance(each, Train) else "simulate"] -= 1
        used = len(self.state.pending) if pool == "simulate" else int(self.state.training is not None)
        return self.state.slots[pool] - used + moved[pool]

    def queue(self, n: int) -> list[str]:
        """The next `n` candidates, without those decided on just now."""
        ranking, taken = self.state.ranking, {each.index for each in self._then if isinstance(each, Simulate)}
        found = [index for index in ranking.first(n + len(taken)) if index not in taken]
        return [self.state.candidates[index] for index in found[:n]]

    def simulate(self, candidate: str | None = None, fidelity: str | None = None, why: str | None = None) -> bool:
        """Submit a simulation, of the first of the queue if no candidate is named; False if there is none, or no
        budget. Raises ValueError for a candidate that is unknown, banned or has been simulated.
        """
        state, fidelity = self.state, fidelity or self.state.full
        now = [each for each in self._then if isinstance(each, Simulate)]
        if candidate is None:
            candidate = next(iter(self.queue(1)), None)
        if candidate is None or (fidelity == state.full and len(now) >= state.left):
            return False
        index = state.index(candidate)
        if state.ranking.status[index] != OPEN or any(each.index == index for each in now):
            raise ValueError(f"{candidate!r} is banned, or its simulation has been started already")
        self._then.append(state.simulation(index, fidelity, why))
        return True

    def train(self, why: str = "") -> bool:
        """Submit the training of a new model; False if one is under way, or there is nothing to learn from."""
        if self.free("learn") < 1 or not self.state.results:
            return False
        self._then.append(self.state.lesson(why or f"{self.state.results - self.state.trained_on} new results"))
        return True

    def reallocate(self, source: str, to: str, n: int) -> int:
        """Move up to `n` slots, leaving one to simulate; returns how many were moved."""
        kept = 1 if source == "simulate" else 0
        moved = sum((each.n if each.to == source else -each.n) for each in self._then if isinstance(each, Reallocate))
        n = max(0, min(n, self.state.slots[source] + moved - kept))
        if n:
            self._then.append(Reallocate(source, to, n))
        return n

    def set(self, event: str) -> None:
        """Have the responders of an event called, after those that are being called now."""
        self._set[event] = None

    # ---- the policy ------------------------------------------------------------------------------------------------

    def decide(self, state: State, event: Any) -> list[Decision]:
        """What the methods decide after an event; the campaign's loop calls it."""
        self.state, self._then = state, []
        if isinstance(event, CampaignStarted):
            for method, how in self._of("agent"):
                made = self._call(method)
                if inspect.isgenerator(made):
                    self._agents.append((method.__name__, made, how["startup"]))
                    self._go_on(made, None)
                elif not how["startup"]:
                    self.done = True
        else:
            for _, running, _ in list(self._agents):
                self._go_on(running, event)
        if isinstance(event, Evaluated | Failed):
            for method, how in self._of("processor"):
                if how["fidelity"] in (None, event.fidelity):
                    self._call(method, event)
        if isinstance(event, Learned):
            for source, to, n in self._lent:
                self.reallocate(to, source, n)
            self._lent.clear()
        while self._set:
            name = next(iter(self._set))
            del self._set[name]
            for method, how in self._of("responder"):
                if how["event"] == name:
                    self._respond(method, how["reallocate"])
        for method, how in self._of("submitter"):
            before = -1
            while not self.done and self.free(how["pool"]) >= how["n_slots"] and len(self._then) != before:
                before = len(self._then)
                self._call(method)
        return self._then

    def _of(self, role: str) -> list[tuple[Callable, dict[str, Any]]]:
        return [(method, method.thinks[1]) for method in self._methods if method.thinks[0] == role]

    def _respond(self, method: Callable, move: tuple[str, str, int] | None) -> None:
        if move is not None and (n := self.reallocate(*move)):
            self._lent.append((move[0], move[1], n))
        self._call(method)

    def _go_on(self, running: Any, event: Any) -> None:
        name, _, startup = next(each for each in self._agents if each[1] is running)
        try:
            running.send(event)
        except StopIteration:
            self._agents = [each for each in self._agents if each[1] is not running]
            self.done = self.done or not startup
        except Exception as error:
            raise CampaignError(f"agent {name} failed: {type(error).__name__}: {error}") from error

    def _call(self, method: Callable, *args: Any) -> Any:
        try:
            return method(*args)
        except Exception as error:
            raise CampaignError(f"agent {method.__name__} failed: {type(error).__name__}: {error}") from error
