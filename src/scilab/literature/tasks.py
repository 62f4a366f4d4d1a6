"""One question to an annotator, in Prodigy's task format.

Format: Prodigy's published example data (explosion/prodigy-recipes, MIT licence). `end` is exclusive, `token_end`
inclusive. The input hash equals Prodigy's on all 373 rows of that data: MurmurHash3 (32 bits, seed 0, signed) of
'text=' and the text as ASCII JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from murmurhash.mrmr import hash as murmur

from .spans import Span, check_spans, shown

ANSWERS = ("accept", "reject", "ignore")
Tokens = Sequence[tuple[int, int]]
_OURS = {"text", "spans", "tokens", "meta", "answer", "_input_hash", "_task_hash"}


@dataclass(frozen=True)
class Task:
    """A text, the spans suggested or confirmed in it, and what a person said of them.

    Args:
        text: what is read; never changed, for all offsets count its code points.
        spans: checked against the text, sorted, each once. They may overlap (see `overlapping`).
        meta: where it comes from, JSON data; tasks of a corpus hold "paper", "section" and "index".
        answer: "accept" (the spans are right, and all), "reject" (they are wrong), "ignore", or None: not answered.
        extra: keys of a Prodigy file that mean nothing here ("_session_id", "_view_id"), kept for the way back.
    """

    text: str
    spans: tuple[Span, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)
    answer: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueError(f"a task's text is a str, got {self.text!r}")
        half = next((place for place, letter in enumerate(self.text) if "\ud800" <= letter <= "\udfff"), None)
        if half is not None:
            raise ValueError(
                f"character {half} of {shown(self.text)} is half of a UTF-16 pair, which no file can hold; decode the "
                "text from its source again"
            )
        object.__setattr__(self, "spans", check_spans(self.text, self.spans))
        if self.answer is not None and self.answer not in ANSWERS:
            raise ValueError(f"an answer is one of {', '.join(ANSWERS)} or None, got {self.answer!r}")
        if not isinstance(self.meta, Mapping):
            raise ValueError(f"a task's meta is a dict of JSON data, got {self.meta!r}")

    @property
    def input_hash(self) -> int:
        """Prodigy's `_input_hash` of the text: the same text has the same one."""
        return murmur(("text=" + json.dumps(self.text)).encode(), 0)

    @property
    def task_hash(self) -> int:
        """The same for the same text and spans, in the range of Prodigy's `_task_hash` but not equal to it.

        How Prodigy makes its own is not published; it keeps one that it finds in a file.
        """
        return murmur(json.dumps([self.input_hash, spans_as_lists(self.spans)]).encode(), 0)

    @property
    def binary(self) -> bool:
        """Whether the answer is about the spans alone, as in Prodigy's ner.teach: the rest of the text is unknown."""
        return self.extra.get("_view_id") == "ner"

    def to_prodigy(self, tokens: Tokens | Callable[[str], Tokens] | None = None) -> dict[str, Any]:
        """The task as a row of a Prodigy file.

        With `tokens`, (start, end) pairs or a function of the text that gives them, the row has them too, and each
        span whose borders are token borders has token_start and token_end.
        """
        pairs = tokens(self.text) if callable(tokens) else tokens
        row: dict[str, Any] = {"text": self.text, "meta": dict(self.meta)}
        row |= {"_input_hash": self.input_hash, "_task_hash": self.task_hash}
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        if pairs is not None:
            starts = {start: number for number, (start, _) in enumerate(pairs)}
            ends = {end: number for number, (_, end) in enumerate(pairs)}
            row["tokens"] = [
                {
                    "text": self.text[start:end],
                    "start": start,
                    "end": end,
                    "id": number,
                    "ws": self.text[end : end + 1] == " ",
                }
                for number, (start, end) in enumerate(pairs)
            ]
        row["spans"] = []
        for span in self.spans:
            each: dict[str, Any] = {"start": span.start, "end": span.end, "label": span.label}
            each["text"] = self.text[span.start : span.end]
            if span.start in starts and span.end in ends:
                each |= {"token_start": starts[span.start], "token_end": ends[span.end]}
            row["spans"].append(each)
        if self.answer is not None:
            row["answer"] = self.answer
        return row | {key: value for key, value in self.extra.items() if key not in row}

    @classmethod
    def from_prodigy(cls, row: Mapping[str, Any]) -> Task:
        """The task of a row; tokens and hashes are made anew when it is written.

        Raises:
            ValueError: there is no text, a span is malformed or outside it, or a span's own text or tokens say
                another place than its offsets do.
        """
        if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
            raise ValueError(f"a Prodigy task is an object with a \"text\", got {shown(json.dumps(row, default=str))}")
        text, tokens = row["text"], row.get("tokens") or []
        spans = [_span(text, tokens, each) for each in row.get("spans") or []]
        extra = {key: value for key, value in row.items() if key not in _OURS}
        if any("score" in each or "answer" in each for each in row.get("spans") or []):
            extra.setdefault("_view_id", "ner")  # older files of ner.teach do not say it, but their spans look so
        return cls(text, tuple(spans), row.get("meta") or {}, row.get("answer"), extra)


def spans_as_lists(spans: Sequence[Span]) -> list[list[Any]]:
    """[[start, end, label], …], the JSON form of spans."""
    return [[span.start, span.end, span.label] for span in spans]


def _span(text: str, tokens: list, row: Any) -> Span:
    if not isinstance(row, Mapping) or not {"start", "end", "label"} <= row.keys():
        raise ValueError(f"a span has start, end and label, got {row!r} in {shown(text)}")
    span = Span(row["start"], row["end"], row["label"])
    check_spans(text, [span])
    said, found = row.get("text"), text[span.start : span.end]
    if said is not None and said != found:
        raise ValueError(
            f"span {span} of {shown(text)} says its text is {said!r}, but there stands {found!r}; its offsets were "
            "counted in another unit (UTF-16?) or in another version of the text"
        )
    first, last = row.get("token_start"), row.get("token_end")
    if tokens and first is not None and last is not None:
        try:
            place = tokens[first]["start"], tokens[last]["end"]
        except (IndexError, KeyError, TypeError):
            place = None
        if place != (span.start, span.end):
            raise ValueError(
                f"span {span} of {shown(text)} names tokens {first}-{last}, which stand at {place}; token_end is the "
                "last token of the span, itself included"
            )
    return span
