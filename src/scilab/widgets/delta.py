"""What changed between two pictures, so that a growing curve costs its new points and not the whole curve."""

from __future__ import annotations

from typing import Any


def difference(old: Any, new: Any) -> dict | None:
    """The change that makes ``new`` of ``old`` (plain JSON values), or None where they are equal.

    ``{"keys": {key: change}, "gone": [key]}`` for dicts, ``{"append": [...]}`` where a list only grew at its end, and
    ``{"value": new}`` for everything else. The page makes it good with ``apply`` (panel.js).
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {}
        for key, value in new.items():
            change = difference(old[key], value) if key in old else {"value": value}
            if change is not None:
                keys[key] = change
        gone = [key for key in old if key not in new]
        return {"keys": keys, "gone": gone} if keys or gone else None
    if old == new:
        return None
    if isinstance(old, list) and isinstance(new, list) and old and new[: len(old)] == old:
        return {"append": new[len(old):]}
    return {"value": new}
