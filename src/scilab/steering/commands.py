"""What a person may tell a campaign while it runs, checked as soon as it is said."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from .acquisitions import Acquisition

POOLS = ("simulate", "learn")
CANDIDATE = ("pin", "unpin", "ban", "unban", "inject", "cancel")


def checked(command: Any) -> dict[str, Any]:
    """The command, if it makes sense at all: a dict with one of these.

    {"pin": candidate} (simulate it next), "unpin", "ban" (never), "unban", "inject" (a new candidate, pinned), "cancel"
    (give up its simulation); {"acquisition": {"name": "ucb", "weight": 2.0}}; {"slots": {"source": "simulate",
    "to": "learn", "n": 1}}; {"threshold": 16.5}; {"budget": 300}; {"drain": True} (start nothing more);
    {"retrain": True} (train on all that is known as soon as the policy lets it, whatever the retrain policy says).

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(command, Mapping) or len(command) != 1:
        raise ValueError(f"a command is a dict with one entry, such as {{'pin': 'CCO'}}, got {command!r}")
    ((word, what),) = command.items()
    if word in CANDIDATE:
        if not isinstance(what, str) or not what.strip():
            raise ValueError(f"{word} wants a candidate, got {what!r}")
    elif word == "acquisition":
        if not isinstance(what, Mapping) or not {"name"} <= set(what) <= {"name", "weight"}:
            raise ValueError(f"acquisition wants {{'name': …, 'weight': …}}, got {what!r}")
        Acquisition(**what)
    elif word == "slots":
        if not isinstance(what, Mapping) or set(what) != {"source", "to", "n"}:
            raise ValueError(f"slots wants {{'source': …, 'to': …, 'n': …}}, got {what!r}")
        if {what["source"], what["to"]} != set(POOLS):
            raise ValueError(f"slots move between {' and '.join(POOLS)}, got {what['source']!r} and {what['to']!r}")
        _whole("n", what["n"])
    elif word == "threshold":
        if isinstance(what, bool) or not isinstance(what, int | float) or not isfinite(what):
            raise ValueError(f"threshold wants a finite number, got {what!r}")
    elif word == "budget":
        _whole("budget", what)
    elif word in ("drain", "retrain"):
        if what is not True:
            raise ValueError(f"{word} wants True, got {what!r}")
    else:
        known = (*CANDIDATE, "acquisition", "slots", "threshold", "budget", "drain", "retrain")
        raise ValueError(f"a campaign knows no command {word!r}; it knows {', '.join(known)}")
    return {word: dict(what) if isinstance(what, Mapping) else what}


def _whole(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
