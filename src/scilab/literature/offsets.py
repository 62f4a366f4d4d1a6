"""Offsets in other units than code points, converted at the edge of scilab.

A browser counts UTF-16 units, and so does doccano; in a project with grapheme mode doccano counts grapheme clusters, as
its page's splitter does: by Unicode 10's rules (UAX #29 revision 31), where newer ones join more. (That splitter breaks
those rules itself where a flag has two marks on it or a sign such as U+0600 before it.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from .spans import Span, check_spans, shown


def utf16_offsets(text: str) -> list[int]:
    """For each code point of `text`, and its end, the offset in UTF-16 units."""
    offsets = [0]
    for letter in text:
        offsets.append(offsets[-1] + 1 + (letter > "\uffff"))
    return offsets


def grapheme_offsets(text: str) -> list[int | None]:
    """For each code point of `text`, and its end, the offset in grapheme clusters; None inside of a cluster."""
    offsets: list[int | None] = [None] * (len(text) + 1)
    for number, place in enumerate(grapheme_starts(text)):
        offsets[place] = number
    return offsets


def in_units(text: str, spans: Iterable[Span], offsets: Sequence[int | None]) -> list[list]:
    """[start, end, label] of spans of `text` in the unit of `offsets`.

    Raises:
        ValueError: a span begins or ends inside of a grapheme cluster, which that unit cannot say.
    """
    rows = []
    for span in check_spans(text, spans):
        start, end = offsets[span.start], offsets[span.end]
        if start is None or end is None:
            raise ValueError(
                f"span {span} of {shown(text)} begins or ends inside of what is one character to the eye, and cannot "
                f"be told in graphemes ({text[span.start : span.end]!r}); widen it to the whole character"
            )
        rows.append([start, end, span.label])
    return rows


def from_units(text: str, rows: Iterable[Sequence], offsets: Sequence[int | None]) -> tuple[Span, ...]:
    """Spans of `text` in code points, of (start, end, label) in the unit of `offsets`.

    Raises:
        ValueError: one is past the end of the text, empty, or begins or ends inside of a character.
    """
    places = {offset: place for place, offset in enumerate(offsets) if offset is not None}
    spans = []
    for start, end, label in rows:
        if start not in places or end not in places:
            raise ValueError(
                f"{start}-{end} {label!r} of {shown(text)} is past the end, {offsets[-1]}, or inside of a character, "
                "counted in the unit of the other program; correct it there"
            )
        spans.append(Span(places[start], places[end], label))
    return check_spans(text, spans)


def grapheme_starts(text: str) -> list[int]:
    """Where each grapheme cluster of `text` begins, in code points, and the end of the text."""
    starts = [0] if text else []
    before, emoji, flags = "", False, 0
    for place, letter in enumerate(text):
        after = _break_class(ord(letter))
        if place and _breaks(before, after, emoji, flags):
            starts.append(place)
        flags = flags + 1 if after == "Regional_Indicator" else 0
        # GB10 looks back over marks to the emoji that a skin tone is for.
        emoji = after in ("E_Base", "E_Base_GAZ") or (emoji and after == "Extend")
        before = after
    return [*starts, len(text)]


_NEVER_AFTER = {"L": ("L", "V", "LV", "LVT"), "LV": ("V", "T"), "V": ("V", "T"), "LVT": ("T",), "T": ("T",)}


def _breaks(before: str, after: str, emoji: bool, flags: int) -> bool:
    """Whether a cluster ends between two classes; `flags`: regional indicators just before."""
    if before == "CR" and after == "LF":  # GB3
        return False
    if before in ("CR", "LF", "Control") or after in ("CR", "LF", "Control"):  # GB4, GB5
        return True
    if after in _NEVER_AFTER.get(before, ()):  # GB6 to GB8: Hangul
        return False
    if after in ("Extend", "ZWJ", "SpacingMark") or before == "Prepend":  # GB9, GB9a, GB9b
        return False
    if emoji and after == "E_Modifier":  # GB10
        return False
    if before == "ZWJ" and after in ("Glue_After_Zwj", "E_Base_GAZ"):  # GB11
        return False
    return not (after == "Regional_Indicator" and flags % 2)  # GB12, GB13, GB999


def _break_class(point: int) -> str:
    if 0x20 <= point < 0x7F:  # most of what is ever asked
        return "Other"
    if point in (0x0D, 0x0A):
        return "CR" if point == 0x0D else "LF"
    if 0xAC00 <= point <= 0xD7A3:
        return "LVT" if (point - 0xAC00) % 28 else "LV"
    starts, ends, classes = _table()
    found = bisect_right(starts, point) - 1
    return classes[found] if found >= 0 and point <= ends[found] else "Other"


@cache
def _table() -> tuple[list[int], list[int], list[str]]:
    """Starts, ends (inclusive) and classes of the ranges of code points, in order."""
    ranges, name = [], ""
    for line in Path(__file__).with_name("grapheme_breaks.txt").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            name = words.pop(0)
        for word in words:
            first, _, last = word.partition("-")
            ranges.append((int(first, 16), int(last or first, 16), name))
    starts, ends, classes = zip(*sorted(ranges), strict=True)
    return list(starts), list(ends), list(classes)
