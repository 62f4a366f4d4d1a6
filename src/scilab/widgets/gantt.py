"""Who worked when: bars of the latest rounds for a sample of the devices, or of their parents where they are many."""

from __future__ import annotations

from collections.abc import Mapping

ROWS = 20
ROUNDS = 3  # the latest ones
BARS = 300
SINGLE = 512  # a federation of more devices tells of them by parent


def begin(workers: Mapping[str, str], unit: str) -> dict:
    """An empty chart for devices in order, given with their parents; of many rows, every so-manieth is there.

    ``bars`` are [row, began, seconds, round], times in ``unit`` since the run began; ``busy`` is the share of the time
    shown in which each row was at work, None where nothing is known. A row of a parent is all devices below it.
    """
    names = list(workers) if len(workers) <= SINGLE else list(dict.fromkeys(workers.values()))
    shown = names[::max(1, -(-len(names) // ROWS))]
    what = "devices" if len(workers) <= SINGLE else "nodes with devices"
    return {"rows": shown, "of": len(names), "what": what, "devices": len(workers), "unit": unit, "bars": [],
            "busy": [None] * len(shown), "flows": False}  # fmt: skip


def with_work(chart: Mapping, record: Mapping, parents: Mapping) -> dict:
    """The chart with what a device or a cohort has done; a record that does not say when is left out."""
    began, rows, name = record.get("began"), chart["rows"], record.get("parent") or record["device"]
    if chart["what"] != "devices":
        name = record.get("parent") or parents[name]
    if began is None or name not in rows:
        return dict(chart)
    bar = [rows.index(name), round(began, 6), round(record["seconds"], 6), record["round"]]
    return {**chart, "bars": [*chart["bars"], bar][-BARS:]}


def with_round(chart: Mapping, number: int, flows: bool) -> dict:
    """The chart when a round is over: what lies further back goes, and the shares are counted anew.

    Where devices flow, not all waiting for all, one is at work before its first bar and after its last, too, but on
    what is not known before it is done: its share is of the time between.
    """
    bars = [bar for bar in chart["bars"] if bar[3] > number - ROUNDS]
    if not bars:
        return {**chart, "bars": bars}
    start, end = min(bar[1] for bar in bars), max(bar[1] + bar[2] for bar in bars)
    work, reached, first = ([value] * len(chart["rows"]) for value in (0.0, start, None))
    for row, began, seconds, _ in sorted(bars, key=lambda bar: bar[1]):  # devices of one row may work at once
        work[row] += max(0.0, began + seconds - max(began, reached[row]))
        reached[row] = max(reached[row], began + seconds)
        first[row] = began if first[row] is None else first[row]
    share = []
    for each, last, since in zip(work, reached, first, strict=True):
        span = end - start if since is None or not flows else last - since
        share.append(None if since is None or not span else round(min(1.0, each / span), 4))
    return {**chart, "bars": bars, "busy": share, "flows": flows}
