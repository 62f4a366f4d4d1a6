"""What the workers of a campaign did with their time, why they were idle, and what its length hung on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .log import plain
from .timing import Task, tasks

STARTING = "the engine was starting"
PAUSED = "paused by people"
MODEL = "waited for the model"
OTHERS = "waited for other simulations"
SLOTS = "fewer slots to simulate than workers"
RETURNING = "a result was on its way back"
DECIDING = "the campaign was deciding"
QUEUED = "a task waited at the engine"
GOING = "a task was on its way"
ACT = "nobody had asked for more"
DONE = "nothing was left to start"
IDLE = (STARTING, PAUSED, MODEL, OTHERS, SLOTS, ACT, RETURNING, DECIDING, QUEUED, GOING, DONE)
"""Why a worker may be idle; everything that is not `busy` has one of these reasons."""


@dataclass(frozen=True)
class Bar:
    """What one worker did from `started` to `ended`: "simulate", "cached", "train", "infer", or a reason of `IDLE`."""

    what: str
    label: str
    started: float
    ended: float


@dataclass(frozen=True)
class Utilisation:
    """`lanes` have one row of bars for each worker, without gaps, from the first submission to the last result.

    `busy` are worker-seconds by what was done, `idle` by reason; `share` is busy over all.
    """

    lanes: tuple[tuple[Bar, ...], ...]
    busy: dict[str, float]
    idle: dict[str, float]

    @property
    def share(self) -> float | None:
        """Of the workers' time, how much they computed; None before anything has ended."""
        busy, all_ = sum(self.busy.values()), sum(self.busy.values()) + sum(self.idle.values())
        return busy / all_ if all_ > 0 else None


def utilisation(records: Iterable[Any]) -> Utilisation:
    """Of a campaign's records (plain ones, too), so far. Time between a stop and the resume counts for nobody.

    A lane is a worker's, or on threads a slot's: a pool of threads may hold more threads than it lets work.
    """
    told = [record if isinstance(record, Mapping) else plain(record) for record in records]
    done = tasks(told)
    lanes: list[list[Bar]] = []
    beginnings = [record for record in told if record["kind"] in ("CampaignStarted", "Resumed")]
    pauses = [(record["started"], record["ended"]) for record in told if record["kind"] == "Paused"]
    moves = [(record["at"], record["slots"]["simulate"]) for record in told if record["kind"] == "Steered"]
    for stretch, beginning in enumerate(beginnings):
        mine = sorted((task for task in done if task.stretch == stretch), key=lambda task: (task.started, task.ended))
        if not mine:
            continue
        slots = [(0.0, beginning["slots"]["simulate"]), *moves]
        rows = _rows(mine, beginning["workers"])
        lanes += [[] for _ in range(len(rows) - len(lanes))]
        for lane, row in zip(lanes, rows, strict=False):
            lane += _filled(row, mine, pauses, slots, beginning["workers"])
    busy, idle = Counter(), Counter()
    for bar in (bar for lane in lanes for bar in lane):
        (idle if bar.what in IDLE else busy)[bar.what] += bar.ended - bar.started
    return Utilisation(tuple(map(tuple, lanes)), dict(busy), dict(idle))


def _rows(mine: list[Task], workers: int) -> list[list[Task]]:
    """The tasks by lane: that of their worker if it is free, else the one that has been free for longest."""
    rows: list[list[Task]] = [[] for _ in range(workers)]
    for task in mine:
        free = [row for row in rows if not row or row[-1].ended <= task.started]
        if not free:  # an abandoned thread still computes
            rows.append([task])
            continue
        own = [row for row in free if row and row[-1].worker == task.worker]
        (own or sorted(free, key=lambda row: row[-1].ended if row else 0.0))[0].append(task)
    return rows


def _filled(row: list[Task], mine: list[Task], pauses: list, slots: list, workers: int) -> list[Bar]:
    """A lane's tasks with the reasons for what lies between them."""
    begins, ends = min(task.submitted for task in mine), max(task.heard for task in mine)
    first, last = min(task.started for task in mine), max(task.submitted for task in mine)
    bars: list[Bar] = []
    at = begins

    def idle(reason: str, until: float) -> None:
        nonlocal at
        if until > at:
            bars.extend(_with_pauses(Bar(reason, "", at, until), pauses))
            at = until

    def missing(what: str, until: float) -> None:
        """Nothing had been decided for this worker until then."""
        for moment in [*(since for since, _ in slots[1:]), until]:
            if moment > at:
                short = [count for since, count in slots if since <= at][-1] < workers
                idle(SLOTS if short else what, min(moment, until))

    for task in row:
        cause = task.cause
        if at == begins:
            idle(STARTING, min(first, task.started))
        if cause is None:
            missing(ACT, min(task.submitted, task.started))
        else:
            missing(MODEL if cause.what in ("train", "infer") else OTHERS, min(cause.ended, task.started))
            idle(RETURNING, min(cause.received, task.started))
        idle(DECIDING, min(task.submitted, task.started))
        idle(QUEUED, min(task.sent, task.started))
        idle(GOING, task.started)
        bars.append(Bar(task.what, task.label, max(at, task.started), task.ended))
        at = max(at, task.ended)
    missing(OTHERS, min(last, ends))
    idle(DONE, ends)
    return bars


def _with_pauses(bar: Bar, pauses: list[tuple[float, float]]) -> list[Bar]:
    """An idle bar, cut where people had paused the campaign."""
    bars, at = [], bar.started
    for began, ended in pauses:
        low, high = max(at, began), min(bar.ended, ended)
        if low < high:
            bars += [Bar(bar.what, "", at, low), Bar(PAUSED, "", low, high)]
            at = high
    bars.append(Bar(bar.what, "", at, bar.ended))
    return [each for each in bars if each.ended > each.started]


def critical_path(records: Iterable[Any]) -> tuple[Bar, ...]:
    """The chain of causes that ends with the last result, from the first submission on, without gaps: shortening what
    is not in it would not have ended the campaign (its last driving) sooner.

    A task begins when its worker has ended another, or else when it has been decided on; the chain goes on there.
    """
    done = tasks(records)
    if not done:
        return ()
    mine = [task for task in done if task.stretch == done[-1].stretch]
    workers = {}
    for task in sorted(mine, key=lambda task: task.started):
        workers.setdefault(task.worker, []).append(task)
    path: list[Bar] = []
    task, end = done[-1], done[-1].heard

    def back(what: str, since: float, label: str = "") -> None:
        nonlocal end
        if since < end:
            path.append(Bar(what, label, since, end))
            end = since

    back(DECIDING, task.received)
    back(RETURNING, task.ended)
    while True:
        back(task.what, task.started, task.label)
        row = workers[task.worker]
        before = [each for each in row if task.submitted < each.ended <= task.started and each is not task]
        if before:
            task = before[-1]
            back(GOING, task.ended)
            continue
        back(GOING, task.sent)
        back(QUEUED, task.submitted)
        if task.cause is None:
            back(ACT, min(each.submitted for each in mine))
            return tuple(reversed(path))
        task = task.cause
        back(DECIDING, task.received)
        back(RETURNING, task.ended)
