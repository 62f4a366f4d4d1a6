"""Who worked when: bars of the latest rounds for a sample of the devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ROWS = 20  # devices shown
ROUNDS = 3  # the latest ones
BARS = 600


def begin(workers: Sequence[str], unit: str) -> dict:
    """An empty chart for devices in order; of many, every so-manieth has a row.

    ``bars`` are [row, began, seconds, round], times in ``unit`` since the run began; ``busy`` is the share of the time
    shown in which each row was at work, None where there is none yet.
    """
    step = max(1, -(-len(workers) // ROWS))
    shown = list(workers[::step])
    return {"rows": shown, "of": len(workers), "unit": unit, "bars": [], "busy": [None] * len(shown)}


def with_work(chart: Mapping, record: Mapping) -> dict:
    """The chart with what a device has done; a record that does not say when is left out."""
    began, rows = record.get("began"), chart["rows"]
    if began is None or record["device"] not in rows:
        return dict(chart)
    bar = [rows.index(record["device"]), round(began, 6), round(record["seconds"], 6), record["round"]]
    return {**chart, "bars": [*chart["bars"], bar][-BARS:]}


def with_round(chart: Mapping, number: int) -> dict:
    """The chart when a round is over: what lies further back goes, and the shares are counted anew."""
    bars = [bar for bar in chart["bars"] if bar[3] > number - ROUNDS]
    if not bars:
        return {**chart, "bars": bars}
    start, end = min(bar[1] for bar in bars), max(bar[1] + bar[2] for bar in bars)
    work = [0.0] * len(chart["rows"])
    for row, _, seconds, _ in bars:
        work[row] += seconds
    share = [round(min(1.0, each / (end - start)), 4) if end > start else None for each in work]
    return {**chart, "bars": bars, "busy": share}
