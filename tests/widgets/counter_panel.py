"""A small capability for the tests: it counts, and every count is a record. It answers the commands of the contract."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from scilab.widgets import Choice, Estimate, Number, Panel, Text, Toggle
from scilab.widgets.picture import chart, with_mark, with_point


@dataclass(frozen=True)
class Counted:
    """One step."""

    step: int
    square: int
    checkpoint: ClassVar[bool] = True
    advances: ClassVar[bool] = True


class Counter:
    """Counts to ``steps``, ``seconds`` apart; raises at step ``fails_at``."""

    kind = "counter"

    def __init__(self, steps: int = 5, seconds: float = 0.0, fails_at: int = 0):
        self.settings = {"steps": steps, "seconds": seconds}
        self.total, self._seconds, self._fails_at = steps, seconds, fails_at
        self._step, self._paused, self._closed = 0, False, False
        self._commands: list = []
        self._changed = threading.Condition()
        self.heard: list[dict] = []

    def __iter__(self):
        while self._step < self.total:
            if self._told():
                return
            self._step += 1
            if self._step == self._fails_at:
                raise RuntimeError(f"the counter broke at step {self._step}")
            yield Counted(self._step, self._step**2)

    def _told(self) -> bool:
        """Wait out the step's time and any pause; True when told to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._commands, self._seconds or 0.0)
            while True:
                while self._commands:
                    command = self._commands.pop(0)
                    if command == "stop":
                        return True
                    if isinstance(command, dict):
                        self.heard.append(command)
                    else:
                        self._paused = command == "pause"
                if not self._paused:
                    return False
                self._changed.wait_for(lambda: self._commands)

    def send(self, command):
        with self._changed:
            self._commands.append(command)
            self._changed.notify()

    def state_dict(self):
        return {"step": self._step}

    def load_state_dict(self, state):
        self._step = state["step"]

    def close(self):
        self._closed = True

    @property
    def result(self):
        return self._step


def tile(value):
    return {"label": "Steps", "value": value, "help": "How many there were."}


class CounterPanel(Panel):
    """Everything a panel has, on a capability that needs no science."""

    title = "Counting"
    kind = "counter"
    unit = "steps"
    fields = (
        Number(name="steps", label="Steps", default=5, minimum=1, maximum=100_000, integer=True,
               help="How far to count.", group="Counting"),
        Number(name="seconds", label="Time per step", default=0.0, minimum=0, maximum=10, unit="s",
               help="How long one step takes.", group="Counting"),
        Number(name="fails_at", label="Fails at", default=0, minimum=0, integer=True,
               help="The step at which it breaks; 0 for never.", group="Trouble",
               unless=lambda values: None if values["trouble"] else "Only where trouble is wanted."),
        Toggle(name="trouble", label="Trouble wanted", default=False, help="Whether it may break.", group="Trouble"),
        Choice(name="colour", label="Colour", default="blue", group="Counting", help="Of nothing.",
               options=(("blue", "Blue"), "green", ("infrared", "Infrared")),
               reasons=lambda values: {"infrared": "This machine cannot show it."}),
        Text(name="word", label="A word", default="", help="Anything.", group="Counting", placeholder="any word"),
    )

    def check(self, values):
        too_long = values["steps"] * values["seconds"] > 3600
        return {"seconds": "More than an hour in all; take fewer steps."} if too_long else {}

    def estimate(self, values):
        return Estimate(seconds=values["steps"] * values["seconds"], memory_bytes=1e6, tasks=values["steps"])

    def build(self, values):
        return Counter(values["steps"], values["seconds"], values["fails_at"] if values["trouble"] else 0)

    def begin(self, settings):
        return {"tiles": [tile("–")],
                "charts": {"squares": chart("Squares", "step", "square", y_unit="cm²")}, "_sum": 0}

    def draw(self, records, picture):
        for record in records:
            charts = picture["charts"]
            if record["kind"] == "Counted":
                squares = with_point(charts["squares"], "square", record["step"], record["square"])
                picture = picture | {"_sum": picture["_sum"] + record["square"], "charts": {"squares": squares},
                                     "tiles": [tile(str(record["step"]))]}
            elif record["kind"] == "Command":
                mark = with_mark(charts["squares"], int(picture["tiles"][0]["value"].replace("–", "0")), "told")
                picture = picture | {"charts": {"squares": mark}}
        return picture

    def script(self, values):
        return f"for record in Counter({values['steps']}, {values['seconds']}):\n    print(record)\n"
