"""Time per stage of a step, and numbers of a device, without waiting for it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator

import torch


class Stopwatch:
    """Adds up time by stage. On a GPU by events in its stream, resolved when they are read; elsewhere by the clock.

    A stage may stand inside another ("exchange" does); its time counts for both.
    """

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._total: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        self._step: Counter[str] = Counter()
        self._open: list[tuple[str, torch.cuda.Event, torch.cuda.Event] | None] = []  # None ends a step

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what is done inside."""
        if self._events:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
        began = time.perf_counter()
        try:
            yield
        finally:
            if self._events:
                end.record()
                self._open.append((stage, begin, end))
            else:
                self._step[stage] += time.perf_counter() - began

    def lap(self) -> None:
        """A step is over."""
        if self._events:
            self._open.append(None)
            self._resolve(wait=False)
        else:
            self._end()

    def _end(self) -> None:
        self._total.update(self._step)
        self._last, self._step = dict(self._step), Counter()

    def _resolve(self, wait: bool) -> None:
        while self._open:
            if self._open[0] is None:
                self._end()
            else:
                stage, begin, end = self._open[0]
                if wait:
                    end.synchronize()
                elif not end.query():
                    return
                self._step[stage] += begin.elapsed_time(end) / 1e3
            self._open.pop(0)

    @property
    def seconds(self) -> dict[str, float]:
        """By stage so far; waits for a GPU."""
        self._resolve(wait=True)
        return dict(self._total + self._step)

    @property
    def milliseconds(self) -> dict[str, float]:
        """By stage in the last step that ended; waits for a GPU."""
        self._resolve(wait=True)
        return {stage: 1e3 * seconds for stage, seconds in self._last.items()}


class Late:
    """A number on its way from the device: `take` has it once it has arrived, and never waits."""

    def __init__(self) -> None:
        self._sent: list[tuple[int, torch.Tensor, torch.cuda.Event | None]] = []

    def put(self, step: int, value: torch.Tensor) -> None:
        """Send the number of `step` on its way."""
        event = None
        if value.is_cuda:
            host = torch.empty((), dtype=value.dtype, pin_memory=True)
            value, event = host.copy_(value, non_blocking=True), torch.cuda.Event()
            event.record()
        self._sent.append((step, value, event))

    def take(self) -> list[tuple[int, float]]:
        """(step, number) of all that arrived since the last call."""
        found = []
        while self._sent and (self._sent[0][2] is None or self._sent[0][2].query()):
            step, value, _ = self._sent.pop(0)
            found.append((step, float(value)))
        return found
