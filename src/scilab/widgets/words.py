"""The words of a panel: statuses, progress, buttons with their reasons, numbers with their units.

All of it is made here from plain data, so the page only shows it and a test can read it. What is not known is a dash.
"""

from __future__ import annotations

from collections.abc import Mapping

DASH = "–"
ACTIVE = frozenset({"starting", "running", "pausing", "paused", "stopping"})

SENTENCES = {
    "ready": "Launch starts a run with the settings shown here.",
    "starting": "Starting: engine, data and model are made ready.",
    "running": "Running. It can be paused or stopped at any moment.",
    "pausing": "Pausing; work already under way may end first.",
    "paused": "Paused. Resume goes on from here.",
    "stopping": "Stopping; what is done so far is kept.",
    "stopped": "Stopped by hand. What was done is kept.",
    "finished": "Finished.",
    "failed": "Failed. The reason stands below.",
    "interrupted": "Interrupted: its kernel ended before it did. Everything up to then is kept.",
    "recorded": "Recorded: shown as it happened elsewhere, not computed here.",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number in a few significant digits: 0.934, 12.5, 1,234; a dash for None."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """0.4 s, 12 s, 1 min 20 s, 2 h 5 min; a dash for None."""
    if seconds is None:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.1 else "under 0.1 s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def size(count: float | None) -> str:
    """120 B, 4.2 kB, 1.3 MB …; a dash for None."""
    if count is None:
        return DASH
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def progress(given: Mapping | None, unit: str, active: bool) -> dict:
    """``fraction`` (None where unknown) and ``text``: "3 of 10 rounds · 1.2 per s · about 6 s left (estimated)"."""
    given = given or {}
    done, total = given.get("done"), given.get("total")
    text = f"{DASH if done is None else f'{done:,}'} of {DASH if total is None else f'{total:,}'} {unit}"
    if active:
        left = given.get("remaining_s")
        rate = number(given.get("rate_per_s"), 2)
        text += f" · {rate} per s · "
        text += f"about {duration(left)} left (estimated)" if left is not None else f"{DASH} left"
    if given.get("elapsed_s") is not None:
        text += f" · {duration(given['elapsed_s'])} so far" if active else f" · took {duration(given['elapsed_s'])}"
    return {"fraction": min(1.0, done / total) if done is not None and total else None, "text": text}


def buttons(status: str, *, here: bool, resumable: bool, recorded: bool, blocked: str | None) -> dict[str, dict]:
    """Launch, Pause, Resume and Stop: each ``{"on": bool, "why": reason or what it does}``.

    ``here``: the run lives in this kernel; ``blocked``: why nothing can be launched now, or None.
    """
    active = status in ACTIVE
    elsewhere = "This run belongs to another kernel; it can be steered only there."
    busy = "Nothing is running." if not active else f"It is {status}." if here else elsewhere
    if status == "paused" and here:
        resume = None
    elif active:
        resume = "It is going on already." if here else elsewhere
    elif recorded:
        resume = "A recorded run is only shown; it cannot be resumed."
    elif status in ("interrupted", "stopped", "failed") and resumable:
        resume = None
    else:
        resume = "There is nothing to resume."
    whys = {
        "launch": "Stop the run that is going on first." if active and here else blocked,
        "pause": None if here and status in ("starting", "running") else busy,
        "resume": resume,
        "stop": None if here and active and status != "stopping" else busy,
    }
    does = {"launch": "Start a new run with these settings", "pause": "Hold the run; Resume goes on",
            "resume": "Go on with this run", "stop": "End the run; what is done is kept"}
    return {name: {"on": why is None, "why": why or does[name]} for name, why in whys.items()}
