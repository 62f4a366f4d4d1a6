"""Labelled stretches of text, counted in code points.

Code points are what Python, spaCy and Prodigy's files count; a browser counts UTF-16 units. Offsets are converted at
the edge (see `offsets`) and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral


@dataclass(frozen=True, order=True)
class Span:
    """text[start:end] carries `label`: code points, `end` exclusive. Sorts by place."""

    start: int
    end: int
    label: str

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise ValueError(f"a span's {name} is a whole number of characters, got {value!r}")
            object.__setattr__(self, name, int(value))
        if not isinstance(self.label, str) or not self.label.strip():
            raise ValueError(f"span {self.start}-{self.end} needs a label, such as 'DRUG'; got {self.label!r}")
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"span {self} is not a stretch of text: start counts from 0 and end comes after it; correct or drop it"
            )

    def __str__(self) -> str:
        return f"{self.start}-{self.end} {self.label!r}"


def check_spans(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans of `text` in order of place, each once.

    Raises:
        ValueError: one reaches past the end of the text; the message names the span and the text.
    """
    spans = tuple(sorted(set(spans)))
    for span in spans:
        if span.end > len(text):
            raise ValueError(
                f"span {span} lies outside its text of {len(text)} characters, {shown(text)}; offsets count code "
                "points (a UTF-16 offset is larger by one for each emoji before it): correct or drop it"
            )
    return spans


def overlapping(spans: Iterable[Span]) -> list[tuple[Span, Span]]:
    """All pairs of spans that share a character."""
    pairs, reach = [], []
    for span in sorted(spans):
        reach = [earlier for earlier in reach if earlier.end > span.start]
        pairs += [(earlier, span) for earlier in reach]
        reach.append(span)
    return pairs


def snap(span: Span, tokens: Sequence[tuple[int, int]]) -> Span | None:
    """The smallest run of whole tokens that covers every token `span` touches; None if it touches none.

    `tokens` are (start, end) pairs in order.
    """
    touched = [(start, end) for start, end in tokens if start < span.end and span.start < end]
    return Span(touched[0][0], touched[-1][1], span.label) if touched else None


def shown(text: str, width: int = 60) -> str:
    """`text` in quotes, cut for a message."""
    return repr(text if len(text) <= width else text[: width - 1] + "…")
