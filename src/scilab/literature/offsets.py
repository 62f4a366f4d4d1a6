"""Offsets in other units than code points, converted at the edge of scilab.

A browser counts UTF-16 units, and so does doccano; in a project with grapheme mode doccano counts grapheme clusters, as
its page's splitter does: by Unicode 10's rules (UAX #29 revision 31), where newer ones join more. (That splitter breaks
those rules itself where a flag has two marks on it or a sign such as U+0600 before it.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from .spans import Span, check_spans, shown


class Offsets:
    """The places of one text in another unit.

    Args:
        text: code points.
        unit: "utf-16" or "grapheme".
    """

    def __init__(self, text: str, unit: str = "utf-16") -> None:
        if unit not in ("utf-16", "grapheme"):
            raise ValueError(f"the unit is 'utf-16' or 'grapheme', got {unit!r}")
        self.text, self.unit = text, unit
        if unit == "grapheme":
            self._starts: Sequence[int] = grapheme_starts(text)
        elif text.isascii():
            self._starts = range(len(text) + 1)
        else:
            # place k in UTF-16 → code point; -1 inside a pair. A lone surrogate is one unit in either.
            starts = []
            for place, letter in enumerate(text):
                starts += [place, -1] if letter > "\uffff" else [place]
            self._starts = [*starts, len(text)]
            self._units = [unit for unit, place in enumerate(starts) if place >= 0] + [len(starts)]

    def to_points(self, place: int) -> int:
        """Of a place in this unit, the place in code points.

        Raises:
            ValueError: it is past the end of the text, or between the two units of one character.
        """
        if not 0 <= place < len(self._starts) or self._starts[place] < 0:
            where = "inside a character" if 0 <= place < len(self._starts) else f"past its end, {len(self._starts) - 1}"
            raise ValueError(f"place {place} of {shown(self.text)}, counted in {self.unit} units, is {where}")
        return self._starts[place]

    def from_points(self, place: int) -> int:
        """Of a place in code points, the place in this unit.

        Raises:
            ValueError: it is past the end of the text, or inside a grapheme cluster.
        """
        if not 0 <= place <= len(self.text):
            raise ValueError(f"place {place} of {shown(self.text)} is past its end, {len(self.text)}")
        if self.unit == "utf-16":
            return place if self.text.isascii() else self._units[place]
        found = bisect_left(self._starts, place)
        if self._starts[found] != place:
            raise ValueError(
                f"place {place} of {shown(self.text)} is inside {self._cluster(found - 1)!r}, one character to the eye; "
                "a project that counts graphemes cannot hold it"
            )
        return found

    def spans_from(self, spans: Iterable[Sequence]) -> tuple[Span, ...]:
        """Spans in code points, of (start, end, label) in this unit; errors as in to_points and Span."""
        found = [Span(self.to_points(start), self.to_points(end), label) for start, end, label in spans]
        return check_spans(self.text, found)

    def spans_to(self, spans: Iterable[Span]) -> list[list]:
        """[start, end, label] in this unit, of spans in code points; errors as in from_points."""
        return [[self.from_points(span.start), self.from_points(span.end), span.label] for span in spans]

    def _cluster(self, number: int) -> str:
        return self.text[self._starts[number] : self._starts[number + 1]]


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
