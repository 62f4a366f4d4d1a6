"""What every rank of a race does: all racers through the same batches, step by step; between, what people ask for."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .data import Batches, share
from .lane import Lane
from .racers import LIVE, Racer
from .ranks import World
from .records import Changed, EpochFinished, Held, Notice, RacerFailed, RaceStarted
from .tasks import Task

SCHEDULES = ("constant", "cosine")
TELL_S = 0.2
CHECK_STEPS = 10
"""How often a GPU is asked whether the loss is still a number; a processor is asked at each step."""


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a rank has to know of a race; the same for every rank, and sent to each."""

    task: Task
    racers: Sequence[Racer]
    epochs: int
    schedule: str
    warmup: int
    devices: str
    seed: int
    draws: bool


class Training:
    """One rank's part of a race. `run` yields records on rank 0, and nothing on the others; `saved` is the state at the
    newest record that is a checkpoint, a new object each time.
    """

    def __init__(self, plan: Plan, world: World, inbox: queue.SimpleQueue, state: Mapping[str, Any] | None) -> None:
        self.plan, self.world, self._inbox = plan, world, inbox
        task, device = plan.task, world.device
        self.train = Batches(task.train, task.batch_size, device, plan.seed, task.augment)
        self.test = Batches(task.test, max(task.batch_size, 500), device, plan.seed, None)
        self.lanes = [Lane(racer, task, world, plan.seed, plan.draws) for racer in plan.racers]
        self.epoch, self.step = 0, 0
        self._paused = self._stopped = False
        self._told: dict[str, float] = {}
        if state is not None and state["lanes"]:
            self.epoch, self.step = state["epoch"], state["step"]
            for lane in self.lanes:
                lane.load_state_dict(state["lanes"][lane.name])
        self.saved: dict[str, Any] = self._state()

    @property
    def _alive(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.failed is None]

    def run(self) -> Iterator[Any]:
        """From where it is to the last epoch, or until it is stopped."""
        if self.world.rank == 0:
            yield from self._run()
        else:
            for _ in self._run():
                pass

    def _run(self) -> Iterator[Any]:
        devices = tuple(self.world.gather(str(self.world.device)))
        yield RaceStarted(self.epoch, self.step, self.train.steps, self.world.ranks, devices)
        while self.epoch < self.plan.epochs and not self._stopped:
            yield from self._epoch()

    def _epoch(self) -> Iterator[Any]:
        for batch in self.train.epoch(self.epoch, self.step):
            if self.world.called(not self._inbox.empty()):
                yield from self._obey()
                if self._stopped:
                    self.saved = self._state()
                    yield Held(self.epoch, self.step)
                    return
            total = len(batch[0])
            if total >= self.world.ranks:  # else some rank would have no row, and nothing to say of the curvature
                own, first = share(batch, self.world.rank, self.world.ranks)
                number = self.epoch * self.train.steps + self.step
                for lane in self._alive:
                    lane.step(own, first, total, number, self._factor(number))
            self.step += 1
            yield from self._look()
            yield from self._tell()
        self.epoch, self.step = self.epoch + 1, 0
        told = tuple(lane.end_epoch(self.test.in_order()) for lane in self._alive)
        self.saved = self._state()
        for lane in self._alive:
            yield from (Notice(text) for text in lane.notices())
        yield EpochFinished(self.epoch, told)

    def _factor(self, number: int) -> float:
        """Of the learning rates: a linear warm-up, then constant, or half a cosine to zero at the end."""
        steps, warm = self.plan.epochs * self.train.steps, self.plan.warmup * self.train.steps
        if number < warm:
            return (number + 1) / warm
        return 1.0 if self.plan.schedule == "constant" else (1 + math.cos(math.pi * number / steps)) / 2

    def _look(self) -> Iterator[Any]:
        if self.world.device.type == "cuda" and self.step % CHECK_STEPS and self.step < self.train.steps:
            return
        for lane in self._alive:
            if reason := lane.check():
                yield RacerFailed(lane.name, self.epoch, self.step, reason)
        if not self._alive:
            first = self.lanes[0]
            where = f"epoch {self.epoch}, step {self.step}"
            raise RuntimeError(f"no racer is left at {where}. {first.name}: {first.failed}")

    def _tell(self) -> Iterator[Any]:
        if self.world.rank != 0:
            return
        now = time.monotonic()
        for lane in self._alive:
            if now - self._told.get(lane.name, 0.0) >= TELL_S * len(self._alive):
                self._told[lane.name] = now
                yield lane.told_step(self.epoch, self.step)

    def _obey(self) -> Iterator[Any]:
        """What people asked for, on all ranks at the same step; while paused, wait for more."""
        while True:
            for command in self.world.agree(self._asked() if self.world.rank == 0 else None):
                if command == "stop":
                    self._stopped, self._paused = True, False
                elif isinstance(command, str):
                    self._paused = command == "pause" and not self._stopped
                else:
                    yield self._change(command)
            if not self._paused:
                return

    def _asked(self) -> list[Any]:
        found = [self._inbox.get()] if self._paused else []
        while not self._inbox.empty():
            found.append(self._inbox.get())
        return found

    def _change(self, command: Mapping[str, Any]) -> Changed:
        what = {key: command[key] for key in LIVE if key in command}
        chosen = [lane for lane in self._alive if lane.name == command.get("racer", lane.name)]
        if set(what) <= set(LIVE[1:]):
            chosen = [lane for lane in chosen if lane.kfac is not None]
        for lane in chosen:
            lane.set(what)
        seconds = {lane.name: lane.seconds for lane in self.lanes}
        return Changed(self.epoch, self.step, what, tuple(lane.name for lane in chosen), seconds)

    def _state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.step, "lanes": {lane.name: lane.state_dict() for lane in self.lanes}}

    def close(self) -> None:
        """Let go of hooks and of collective groups."""
        for lane in self.lanes:
            lane.close()


def check_command(command: Any, racers: Sequence[Racer]) -> None:
    """ValueError for what a race does not understand, before any rank hears of it."""
    if command in ("pause", "resume", "stop"):
        return
    if not isinstance(command, Mapping):
        raise ValueError(f"a race understands 'pause', 'resume', 'stop' and a dict of {', '.join(LIVE)}, "
                         f"with the name of a racer if it is for one; got {command!r}")  # fmt: skip
    unknown = sorted(set(command) - {*LIVE, "racer"})
    if unknown or not set(command) & set(LIVE):
        raise ValueError(f"what can change while a race runs is {', '.join(LIVE)}; got {', '.join(map(str, command))}")
    names = [racer.name for racer in racers]
    if command.get("racer", names[0]) not in names:
        raise ValueError(f"there is no racer {command['racer']!r}; there are {', '.join(names)}")
    for key, value in command.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if key.endswith("_every") and not (number and value >= 1 and value == int(value)):
            raise ValueError(f"{key} must be a whole number of steps from 1; got {value!r}")
        if key in ("lr", "damping") and not (number and value > 0):
            raise ValueError(f"{key} must be a number above 0; got {value!r}")
