"""What each task of a campaign took, read off its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .log import plain


@dataclass(frozen=True, eq=False)
class Task:
    """One task that has ended, in seconds by the campaign's clock: submitted to the engine, sent to a worker, begun and
    ended there, its report received and heard by the campaign.

    `what` is "simulate", "cached" (known already), "train" or "infer"; `label` the candidate, or the model's version.
    `cause` is the task that was heard just before this one was decided on, None if it was no task's end.
    """

    what: str
    label: str
    worker: str | None
    ok: bool
    submitted: float
    sent: float
    started: float
    ended: float
    received: float
    heard: float
    cause: Task | None
    stretch: int
    """The campaign's how-manieth driving it belongs to, from 0: each resume begins another."""


def colmena(record: Any) -> dict[str, Any]:
    """The times of an `Evaluated` or `Failed` under the names that Colmena's `Result` gives them (0.7, models/results:
    `timestamp` in unix seconds, `time` in seconds). What Colmena notes on its way through two processes is one moment
    here, and has that value.
    """
    told = record if isinstance(record, Mapping) else plain(record)
    spans = told["serialized"] or (0.0, 0.0, 0.0, 0.0)
    names = ("serialize_inputs", "deserialize_inputs", "serialize_results", "deserialize_results")
    began, ended = told["started"], told["ended"]
    return {
        "timestamp": {
            "created": told["submitted"], "input_received": told["submitted"], "start_task_submission": told["sent"],
            "compute_started": began, "compute_ended": None if began is None else ended,
            "task_received": told["received"], "result_sent": told["received"], "result_received": told["heard"],
        },
        "time": {"running": None if began is None else ended - began, **dict(zip(names, spans, strict=True))},
    }  # fmt: skip


def tasks(records: Iterable[Any]) -> list[Task]:
    """All tasks that have begun on a worker, of records or of plain ones as the Journal has them, as they were heard.

    A task that was given up before a worker began it took nobody's time and is not among them.
    """
    found: list[Task] = []
    causes: dict[tuple | int, Task | None] = {}
    stretch = -1
    for record in records:
        told = record if isinstance(record, Mapping) else plain(record)
        kind, last = told["kind"], None
        if kind in ("CampaignStarted", "Resumed"):
            stretch += 1
        elif kind in ("Evaluated", "Failed"):
            cause = causes.pop((told["index"], told["fidelity"]), None)
            if told["started"] is not None:
                what = "cached" if told["cached"] else "simulate"
                last = _task(what, told["candidate"], kind == "Evaluated", told, cause, stretch)
                found.append(last)
        elif kind == "Learned":
            lesson, last = [], causes.pop(told["version"], None)
            for each in told["tasks"]:
                before = [task for task in lesson if task.heard <= each["submitted"]]
                cause = max(before, key=lambda task: task.heard) if before else last
                lesson.append(_task(each["what"], f"model {told['version']}", True, each, cause, stretch))
            last = lesson[-1] if lesson else None
            found += lesson
        for decision in told.get("then") or ():
            if decision["what"] == "reallocate":
                continue
            key = decision["version"] if decision["what"] == "train" else (decision["index"], decision["fidelity"])
            causes[key] = last
    return sorted(found, key=lambda task: task.heard)


def _task(
    what: str, label: str, ok: bool, told: Mapping[str, Any], cause: Task | None, stretch: int
) -> Task:  # fmt: skip
    if cause is not None and cause.stretch != stretch:  # of an earlier driving: it was not waited for
        cause = None
    times = [told[name] for name in ("submitted", "sent", "started", "ended", "received", "heard")]
    return Task(what, label, told["worker"], ok, *times, cause, stretch)
