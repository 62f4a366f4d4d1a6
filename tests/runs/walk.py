"""A small capability for the tests: a seeded random walk that answers commands, and can be made to wait for them."""

import os
import queue
import time
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Stepped:
    step: int
    place: int
    advances: ClassVar[bool] = True


@dataclass(frozen=True)
class Rested:
    step: int
    mean: float
    checkpoint: ClassVar[bool] = True


class Walk:
    """Takes `steps` steps; after every `rest_every` of them a Rested record carries a checkpoint.

    With `manual` it takes a step only when the command {"go": n} allows n more: until then it waits like a loop whose
    tasks still run. `heard` is every command it got. To the file descriptor `acknowledge` it writes one byte each time
    it regains control after a record, a millisecond apart; and it then waits at its end, to be killed.
    """

    kind = "walk"

    def __init__(self, steps=20, seed=0, rest_every=5, manual=False, acknowledge=None):
        self.settings = {"steps": steps, "seed": seed, "rest": {"every": rest_every}}
        self.total, self.rest_every, self.manual, self.acknowledge = steps, rest_every, manual, acknowledge
        self.step, self.place, self.random = 0, 0, seed
        self.places = torch.zeros(steps, dtype=torch.float64)
        self.allowed, self.paused, self.closed, self.heard = 0, False, 0, []
        self.inbox = queue.SimpleQueue()

    def __iter__(self):
        while self.step < self.total:
            while self.paused or (self.manual and not self.allowed) or not self.inbox.empty():
                command = self.inbox.get()
                self.heard.append(command)
                if command == "stop":
                    return
                if isinstance(command, dict):
                    self.allowed += command["go"]
                else:
                    self.paused = command == "pause"
            self.allowed -= 1
            self.random = (1103515245 * self.random + 12345) % 2**31
            self.place += (self.random >> 16) % 7 - 3
            self.places[self.step] = self.place / 3
            self.step += 1
            yield Stepped(self.step, self.place)
            self._regained()
            if self.rest_every and self.step % self.rest_every == 0:
                yield Rested(self.step, float(self.places[: self.step].mean()))
                self._regained()
        if self.acknowledge is not None:
            self.inbox.get()

    def _regained(self):
        if self.acknowledge is not None:
            os.write(self.acknowledge, b".")
            time.sleep(0.001)

    def send(self, command):
        if isinstance(command, dict) and not isinstance(command.get("go"), int):
            raise ValueError(f"{command} is no command of a walk")
        self.inbox.put(command)

    def state_dict(self):
        return {"step": self.step, "place": self.place, "random": self.random, "places": self.places}

    def load_state_dict(self, state):
        self.step, self.place, self.random = state["step"], state["place"], state["random"]
        self.places.copy_(state["places"])

    def close(self):
        self.closed += 1

    @property
    def result(self):
        return self.place, self.places.tolist()


def bare(records):
    """Records without what differs between two equal runs."""
    return [{key: value for key, value in record.items() if key not in ("n", "t")} for record in records]


def undisturbed(**settings):
    """What a walk yields and makes in a plain loop: the oracle of the resume tests."""
    walk = Walk(**settings)
    records = [{"kind": type(record).__name__, **vars(record)} for record in walk]
    return records, walk.result
