"""What a campaign's workers did with their time, as a chart for gantt.js, and why they were idle, as bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from .picture import bars

TASKS = 200  # the latest ones that are looked at
ROWS, REASONS = 20, 6
THIN = 0.002  # of the time shown: idle moments shorter than that are counted, not drawn
KINDS = [
    {"name": "simulation", "colour": 0}, {"name": "known already", "colour": 5}, {"name": "training", "colour": 2},
    {"name": "inference", "colour": 4}, {"name": "idle", "idle": True},
]
PLACES = {"simulate": 0, "cached": 1, "train": 2, "infer": 3}
IN_SHORT = {"the engine was starting": "engine starting", "paused by people": "paused",
            "waited for the model": "for the model", "waited for other simulations": "for others",
            "fewer slots to simulate than workers": "too few slots",
            "a result was on its way back": "result on its way",
            "the campaign was deciding": "deciding", "a task waited at the engine": "task queued",
            "a task was on its way": "task on its way", "nobody had asked for more": "not asked",
            "nothing was left to start": "nothing left"}
TOLD = ("Evaluated", "Failed", "Learned", "Steered", "Paused")


def begin(unit: str) -> dict:
    """The empty chart: ``bars`` will be [row, began, seconds, kind, label], ``busy`` the share of each row's time that
    it computed, ``share`` that of all, of ``of`` workers; ``cut``: earlier tasks are left out.
    """
    return {"rows": [], "of": 0, "unit": unit, "bars": [], "busy": [], "kinds": KINDS, "share": None, "cut": False,
            "marks": []}


def kept(log: list[dict], record: Mapping) -> list[dict]:
    """The records that tell of workers: those since the campaign began or was resumed, and of them the latest."""
    if record["kind"] in ("CampaignStarted", "Resumed"):
        return [dict(record)]
    if record["kind"] not in TOLD or not log:
        return log
    log = [*log, record]
    return log if len(log) <= TASKS + 1 else [log[0], *log[-TASKS:]]


def drawn(chart: Mapping, log: Sequence[Mapping], clock: Callable[[float], float]) -> dict:
    """{"gantt": the chart, "bars": idle time by reason}, of kept records; `clock` gives the campaign's own seconds."""
    from scilab.steering.utilisation import utilisation

    found = utilisation(log)
    lanes = [lane for lane in found.lanes if lane]
    if not lanes:
        return {}
    least = THIN * (max(lane[-1].ended for lane in lanes) - min(lane[0].started for lane in lanes))
    step = ceil(len(lanes) / ROWS)
    rows, told, busy = [], [], []
    for number in range(0, len(lanes), step):
        for bar in lanes[number]:
            kind, seconds = PLACES.get(bar.what, len(PLACES)), bar.ended - bar.started
            if kind < len(PLACES) or seconds >= least:
                label = bar.label if kind < len(PLACES) else bar.what
                told.append([len(rows), round(clock(bar.started), 4), round(seconds, 4), kind, label])
        worked = sum(bar.ended - bar.started for bar in lanes[number] if bar.what in PLACES)
        all_ = lanes[number][-1].ended - lanes[number][0].started
        busy.append(round(worked / all_, 4) if all_ else None)
        rows.append(f"worker {number + 1}")
    least *= len(lanes)
    reasons = sorted((item for item in found.idle.items() if item[1] >= least), key=lambda item: -item[1])[:REASONS]
    idle = bars("Idle worker-seconds, by reason", [IN_SHORT.get(reason, reason) for reason, _ in reasons],
                {"idle": [round(seconds, 3) for _, seconds in reasons]})
    cut = log[0]["kind"] == "Resumed" or len(log) > TASKS
    gantt = {**chart, "rows": rows, "bars": told, "busy": busy, "of": len(lanes), "share": found.share, "cut": cut}
    return {"gantt": gantt, "bars": {"idle": idle}}
