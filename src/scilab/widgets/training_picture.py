"""A training's records as a picture: loss and scores by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .picture import chart, with_point
from .words import DASH, number

SCORES = {"f1": "F1", "precision": "precision", "recall": "recall", "unseen_recall": "recall of new names"}


def begin(settings: Mapping) -> dict:
    """The picture before the first record."""
    picture = {
        "charts": {"scores": chart("Held-out texts", "epoch", "score"),
                   "loss": chart("Loss", "epoch", "loss of a text", log=True)},
        "_started": {}, "_best": {}, "_epoch": None, "_epochs": settings.get("epochs"),
    }  # fmt: skip
    return picture | {"tiles": _tiles(picture)}


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    picture = {**picture, "charts": dict(picture["charts"])}
    for record in records:
        if record["kind"] == "TrainingStarted":
            picture["_started"] = {key: record[key] for key in ("texts", "spans", "dev_texts", "dev_spans")}
        elif record["kind"] == "EpochFinished":
            epoch, charts = record["epoch"], picture["charts"]
            charts["loss"] = with_point(charts["loss"], "loss", epoch, record["loss"])
            for name, label in SCORES.items():
                if record[name] is not None:
                    charts["scores"] = with_point(charts["scores"], label, epoch, record[name])
            picture["_epoch"] = epoch
            if record["best"] == epoch:
                told = {key: record[key] for key in (*SCORES, "false_per_1000_words")}
                picture["_best"] = {"epoch": epoch, **told}
    return picture | {"tiles": _tiles(picture)}


def _tiles(picture: Mapping) -> list[dict]:
    started, best = picture["_started"], picture["_best"]
    texts = f"{started['texts']:,} + {started['dev_texts']:,}" if started else DASH
    told = [
        ("Texts", texts, "Trained on, drug-free ones and single spans included + held out."),
        ("F1", number(best.get("f1")), "On the held-out texts, of the best epoch, which was chosen by them."),
        ("Precision", number(best.get("precision")), "Of what the model marks there, what is right."),
        ("Recall", number(best.get("recall")), "Of what is there, what the model marks."),
        ("New names", number(best.get("unseen_recall")), "Recall of names that are in no text it was trained on."),
        ("False per 1,000 words", number(best.get("false_per_1000_words")), "Marked in held-out texts without any."),
        ("Best epoch", str(best.get("epoch", DASH)), "The one that is kept."),
    ]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
