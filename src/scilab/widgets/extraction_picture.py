"""An extraction's records as a picture: what has been read, what was found, what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .picture import chart, with_point
from .words import DASH, number

MESSAGES = 20


def begin(settings: Mapping) -> dict:
    """The picture before the first record."""
    picture = {"charts": {"found": chart("Found", "papers read", "count")}, "messages": [],
               "_sum": {"mentions": 0, "molecules": 0, "failed": 0, "scored": 0, "seconds": 0.0}, "_last": {},
               "_stored": 0}  # fmt: skip
    return picture | {"tiles": _tiles(picture)}


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    picture = {**picture, "charts": dict(picture["charts"]), "_sum": dict(picture["_sum"]),
               "messages": list(picture["messages"])}  # fmt: skip
    total = picture["_sum"]
    for record in records:
        kind = record["kind"]
        if kind == "ChunkFinished":
            total["mentions"] += record["mentions"]
            total["molecules"] += record["new_molecules"]
            total["seconds"] += record["cpu_seconds"]
            picture["_last"] = {key: record[key] for key in ("papers_read", "words_read", "skipped")}
            for name in ("mentions", "molecules"):
                found = picture["charts"]["found"]
                picture["charts"]["found"] = with_point(found, name, record["papers_read"], total[name])
        elif kind == "PaperFailed":
            total["failed"] += 1
            picture["messages"].append(f"{record['where']}: {record['reason']}")
        elif kind == "Scored":
            total["scored"] += record["mentions"]
        elif kind == "Notice":
            picture["messages"].append(record["text"])
        elif kind == "ExtractionFinished":
            picture["_last"] |= {"whole": {key: record[key] for key in ("papers", "words", "mentions", "molecules")}}
        if kind in ("ChunkFinished", "Scored", "ExtractionFinished"):
            picture["_stored"] += 1
    picture["messages"] = [text[:400] for text in picture["messages"][-MESSAGES:]]
    return picture | {"tiles": _tiles(picture)}


def _tiles(picture: Mapping) -> list[dict]:
    last, total = picture["_last"], picture["_sum"]
    whole = last.get("whole", {})
    read = last.get("words_read")
    rate = read / total["seconds"] if read and total["seconds"] else None

    def count(name: str, now: int | None) -> str:
        value = whole.get(name, now)
        return DASH if value is None else f"{value:,}"

    told = [
        ("Papers", count("papers", last.get("papers_read")), "Read by this model, by now."),
        ("Words", count("words", read), "In these papers."),
        ("Mentions", count("mentions", total["mentions"] if last else None), "Places where a molecule is named."),
        ("Molecules", count("molecules", total["molecules"] if last else None), "Different names, normalised."),
        ("Not readable", f"{total['failed']:,}" if last else DASH, "Papers or files that were left out; listed below."),
        ("Words per CPU second", number(rate), "Of the workers."),
    ]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
