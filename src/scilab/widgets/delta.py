"""What changed between two pictures, so that a growing curve costs its new points and not the whole curve."""

from __future__ import annotations

from typing import Any

NOTHING = None


def difference(old: Any, new: Any) -> dict | None:
    """The change that makes ``new`` of ``old`` (plain JSON values), or None where they are equal.

    ``{"keys": {key: change}, "gone": [key]}`` for dicts, ``{"append": [...]}`` where a list only grew at its end, and
    ``{"value": new}`` for everything else. `applied` and the page's ``apply`` (panel.js) undo it.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {}
        for key, value in new.items():
            change = difference(old[key], value) if key in old else {"value": value}
            if change is not NOTHING:
                keys[key] = change
        gone = [key for key in old if key not in new]
        return {"keys": keys, "gone": gone} if keys or gone else NOTHING
    if old == new:
        return NOTHING
    if isinstance(old, list) and isinstance(new, list) and old and new[: len(old)] == old:
        return {"append": new[len(old):]}
    return {"value": new}


def applied(old: Any, change: dict | None) -> Any:
    """``old`` with the change made; ``old`` itself is left as it is."""
    if change is NOTHING:
        return old
    if "value" in change:
        return change["value"]
    if "append" in change:
        return old + change["append"]
    kept = {key: value for key, value in old.items() if key not in change["gone"]}
    return kept | {key: applied(old.get(key), inner) for key, inner in change["keys"].items()}
