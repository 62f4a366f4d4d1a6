"""Records and settings as strict JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_ENVELOPE = {"kind", "n", "t"}
_AS_IT_IS = frozenset((str, int, bool, type(None)))


def plain(value: Any, where: str) -> Any:
    """`value` as JSON types: NaN and infinity become None, tuples lists, numpy and torch scalars numbers.

    Raises:
        TypeError: something in it has no JSON form; the message names it by `where` it stands.
    """
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_fields(value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(value.item(), where)
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    raise TypeError(
        f"{where} is a {type(value).__name__}{shape}: give numbers, text, booleans, None, or lists and dicts of them "
        "(an array has .tolist())"
    )


def _plain_fields(value: Any, where: str) -> dict[str, Any]:
    found = {}
    for name in _fields(type(value)):
        field = getattr(value, name)
        kind = type(field)  # most are plain already: no call, and no text for a message that nobody needs
        if kind in _AS_IT_IS or (kind is float and math.isfinite(field)):
            found[name] = field
        else:
            found[name] = plain(field, f"{where}.{name}")
    return found


def encode(value: Any, where: str) -> str:
    """JSON text of `value`; errors as in plain()."""
    return _encode(plain(value, where))


def record_body(record: Any) -> str:
    """JSON text {"kind": class name, **fields} of a record.

    Raises:
        TypeError: it is no dataclass, or a field has no JSON form or a name that the journal uses itself.
    """
    kind = type(record).__name__
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"a record is a {kind}: records are instances of small frozen dataclasses")
    if own := _ENVELOPE.intersection(_fields(type(record))):
        raise TypeError(
            f"{kind}.{min(own)}: the names kind, n and t are the journal's own; call the field something else"
        )
    return _encode({"kind": kind, **_plain_fields(record, kind)})


def differences(stored: Any, given: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(setting, stored value, given value) wherever two settings differ; "a.b" is b inside a, None is absent."""
    if stored == given:
        return []
    if not (isinstance(stored, dict) and isinstance(given, dict)):
        return [(name, stored, given)]
    found = []
    for key in {**stored, **given}:
        found += differences(stored.get(key), given.get(key), f"{name}.{key}" if name else key)
    return found


def _key(key: Any, where: str) -> str:
    name = plain(key, f"a key of {where}")
    if not isinstance(name, (str, int)):
        raise TypeError(f"{where} has the key {key!r}: keys are text or whole numbers")
    return str(name)


@lru_cache(maxsize=256)
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))
