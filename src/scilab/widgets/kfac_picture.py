"""A race's records as a picture: losses by epoch and by time, cosines and spectra over time, stages, ranks, messages.

Bounded however long a race is: a history keeps at most `COLUMNS` epochs of each layer, every 2nd, 4th … of a long race.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .picture import chart, with_mark, with_point
from .words import DASH, number

COLUMNS = 60
MESSAGES = 20


def begin(settings: Mapping) -> dict:
    """The picture before the first record; ``settings`` are those of a `scilab.kfac.Race`, run or planned."""
    charts = {
        "loss_epoch": chart("Test loss by epoch", "epoch", "loss", log=True),
        "loss_time": chart("Test loss by time", "training time of each", "loss", "s", log=True),
    }
    if settings["task"]["accuracy"]:
        charts |= {"accuracy_epoch": chart("Test accuracy by epoch", "epoch", "accuracy"),
                   "accuracy_time": chart("Test accuracy by time", "training time of each", "accuracy", "s")}
    charts["batch"] = chart("Loss of the newest batches", "epoch", "loss", log=True)
    racers = {racer["name"]: racer for racer in settings["racers"]}
    curved = [name for name, racer in racers.items() if racer["kfac"] is not None]
    kfac = racers[curved[0]]["kfac"] if curved else {}
    live = {"racers": {name: racer["lr"] for name, racer in racers.items()},
            "kfac": {name: kfac[name] for name in ("damping", "factors_every", "decompose_every") if name in kfac}}
    picture = {
        "charts": charts, "heat": {}, "stages": {}, "ranks": [], "messages": [], "live": live,
        "tradeoff": dict(settings.get("tradeoff") or {}), "_predicted": settings.get("predicted", {}),
        "_epochs": settings.get("epochs"), "_steps": 1, "_last": {"racers": {name: {} for name in racers}},
    }
    return picture | {"tiles": _tiles(picture)}


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    charts, live, heat = dict(picture["charts"]), picture["live"], picture["heat"]
    stages, ranks, messages = picture["stages"], picture["ranks"], list(picture["messages"])
    last = {**picture["_last"], "racers": dict(picture["_last"]["racers"])}
    steps = picture["_steps"]
    for record in records:
        kind = record["kind"]
        if kind == "RaceStarted":
            steps = record["steps_per_epoch"]
            last |= {"epoch": record["epoch"], "devices": record["devices"]}
        elif kind == "StepFinished":
            at = record["epoch"] + record["step"] / steps
            charts["batch"] = with_point(charts["batch"], record["racer"], at, record["loss"])
            last["racers"][record["racer"]] = last["racers"][record["racer"]] | _figures(record)
        elif kind == "EpochFinished":
            last["epoch"] = record["epoch"]
            ranks = []
            for told in record["racers"]:
                name = told["racer"]
                for what in ("loss", "accuracy"):
                    for by, x in (("epoch", record["epoch"]), ("time", told["seconds"])):
                        if f"{what}_{by}" in charts:
                            charts[f"{what}_{by}"] = with_point(charts[f"{what}_{by}"], name, x, told[what])
                new = {"loss": told["loss"], "accuracy": told["accuracy"], "seconds": told["seconds"]}
                last["racers"][name] = last["racers"][name] | new | _figures(told)
                stages = stages | {name: told["ms"]}
                if told["cosines"]:
                    heat = heat | {name: _with_column(heat.get(name), record["epoch"], told)}
                ranks += [_rank(name, use, picture["_predicted"].get(name, [])) for use in told["ranks"]]
        elif kind == "Changed":
            live = _changed(live, record)
            text = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in record["what"].items())
            at = record["epoch"] + record["step"] / steps
            by_time = min((record["seconds"][name] for name in record["racers"]), default=0.0)
            for key, one in charts.items():
                charts[key] = with_mark(one, by_time if key.endswith("_time") else at, text)
        elif kind == "RacerFailed":
            messages.append(f"{record['racer']} is out at epoch {record['epoch']}, step {record['step']}: "
                            f"{record['reason']}.")
            last["racers"][record["racer"]] = last["racers"][record["racer"]] | {"out": True}
        elif kind == "Notice":
            messages.append(record["text"])
    picture = {**picture, "charts": charts, "live": live, "heat": heat, "stages": stages, "ranks": ranks,
               "messages": [text[:400] for text in messages[-MESSAGES:]], "_last": last, "_steps": steps}
    return picture | {"tiles": _tiles(picture)}


def _figures(told: Mapping) -> dict:
    return {key: told[key] for key in ("damping", "scale", "product") if told[key] is not None}


def _with_column(held: Mapping | None, epoch: int, told: Mapping) -> dict:
    """One epoch more of a racer's layers: cosines, and log10 of the eigenvalues' quantiles of A and G."""
    held = held or {"layers": list(told["cosines"]), "columns": [], "seen": 0, "stride": 1}
    spectra = told["spectra"] or {}
    column = {"epoch": epoch, "cosines": [_short(told["cosines"].get(layer)) for layer in held["layers"]],
              "spectra": [[[_log(value) for value in factor] for factor in spectra[layer]] if layer in spectra else None
                          for layer in held["layers"]]}
    columns, seen, stride = held["columns"], held["seen"], held["stride"]
    if columns and (seen - 1) % stride:  # the last one was there only as the newest
        columns = columns[:-1]
    columns = [*columns, column]
    if len(columns) > COLUMNS and not seen % stride:
        columns, stride = columns[::2], stride * 2
        if seen % stride:
            columns = [*columns, column]
    return {"layers": held["layers"], "columns": columns, "seen": seen + 1, "stride": stride}


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)


def _log(value: float) -> float:
    return round(math.log10(max(value, 1e-12)), 2)


def _rank(racer: str, use: Mapping, predicted: Sequence[Mapping]) -> dict[str, Any]:
    told = predicted[use["rank"]] if use["rank"] < len(predicted) else {}
    received = sum(count for purpose, count in use["received"].items() if purpose != "state")
    return {"racer": racer, "rank": use["rank"], "device": use["device"],
            "held": use["factors"] + use["decompositions"], "held_predicted": told.get("held"),
            "received": received, "received_predicted": told.get("received"),
            "gpu_bytes": use["gpu_bytes"], "gpu_busy": use["gpu_busy"]}


def _changed(live: Mapping, record: Mapping) -> dict:
    what = record["what"]
    rates = dict.fromkeys(record["racers"], what["lr"]) if "lr" in what else {}
    kfac = {name: value for name, value in what.items() if name != "lr"}
    return {"racers": live["racers"] | rates, "kfac": live["kfac"] | kfac}


def _tiles(picture: Mapping) -> list[dict]:
    last, accuracy = picture["_last"], "accuracy_epoch" in picture["charts"]
    what = "accuracy" if accuracy else "loss"
    epoch, total = last.get("epoch"), picture["_epochs"]
    told = [("Epoch", f"{DASH if epoch is None else f'{epoch:,}'} of {DASH if total is None else f'{total:,}'}",
             "Epochs finished; all racers are given the same batches.")]
    for name, figures in last["racers"].items():
        value = "out" if figures.get("out") else number(figures.get(what))
        told.append((name, value, f"Test {what} after the newest epoch."))
    curved = next((figures for figures in last["racers"].values() if "damping" in figures), {})
    if picture["live"]["kfac"]:
        told += [
            ("Damping λ", number(curved.get("damping")), "Added to the eigenvalues of A ⊗ G, at the newest step told."),
            ("Clip ν", number(curved.get("scale")), "What scaled the preconditioned gradients; 1 is no clipping."),
            ("⟨V, ∇L⟩", number(curved.get("product")), "What the step promises at first order, before clipping."),
        ]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
