"""A federation's records as a picture: its tree, accuracy and loss, who worked when, staleness, bytes, failures.

A node's state is one letter: w waiting, t asked to train and awaited, g gathered (all devices below it have answered),
d done, f failed. The picture is bounded whatever the number of devices and rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, islice, pairwise

from . import gantt
from .picture import bars, chart, with_mark, with_point
from .tree_view import tiers_of, with_states
from .words import DASH, duration, number, size

MESSAGES = 20  # the latest ones
ANSWERS = ("DeviceFinished", "CohortFinished", "DeviceFailed", "DevicesFailed")
SINGLE = 4  # versions that have a bar each; beyond, a bar has twice as many as the one before


def begin(settings: Mapping, unfolded: Collection[str] = ()) -> dict:
    """The picture before the first round, from a federation's settings: "topology", and "engine" and "partials"."""
    nodes = settings["topology"]["nodes"]
    parents = {node: parent for node, parent, _ in nodes}
    kinds = {node: kind for node, _, kind in nodes}
    below: Counter[str] = Counter()  # devices, by node
    for node, kind in kinds.items():
        above = parents[node] if kind == "worker" else None
        while above is not None:
            below[above] += 1
            above = parents[above]
    simulated = str(settings.get("engine", "")).startswith("virtual")
    unit = "simulated s" if simulated else "s"
    children: dict[str, list[str]] = {}  # devices only
    for node, kind in kinds.items():
        if kind == "worker":
            children.setdefault(parents[node], []).append(node)
    tiers, groups = tiers_of(nodes, unfolded)
    labels = [f"to {tier['label']}" for tier in tiers[1:]]
    picture = {
        "charts": {"accuracy": chart("Accuracy on the test data", "round", "accuracy"),
                   "loss": chart("Loss", "round", "loss"),
                   "over_time": chart("Accuracy over time", "time", "accuracy", x_unit=unit)},
        "bars": {"traffic": bars("Bytes moved, by tier", labels, {"down": [0] * len(labels), "up": [0] * len(labels)},
                                 "bytes")},
        "gantt": gantt.begin({node: parent for node, parent in parents.items() if kinds[node] == "worker"}, unit),
        "messages": [], "_parents": parents, "_kinds": kinds, "_devices": below, "_children": children,
        "_tiers": tiers, "_groups": groups,
        "_depth": {node: depth for depth, tier in enumerate(groups) for entry in tier for node in entry},
        "_now": dict.fromkeys(kinds, "w"), "_out": {}, "_moved": {}, "_took": Counter(), "_stale": Counter(),
        "_last": {}, "_profiles": settings["topology"].get("profiles", {}), "_simulated": simulated,
        "_sums": 2 if settings.get("partials", "float64") == "float64" else 1,  # an aggregator's update, in models
    }  # fmt: skip
    return picture | {"tree": _tree(picture), "tiles": _tiles(picture)}


def unfolded(picture: Mapping, names: Collection[str]) -> dict:
    """The same picture with these groups of its tree unfolded."""
    nodes = [(node, parent, picture["_kinds"][node]) for node, parent in picture["_parents"].items()]
    tiers, groups = tiers_of(nodes, names)
    picture = {**picture, "_tiers": tiers, "_groups": groups}
    return picture | {"tree": _tree(picture)}


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    now, out, last, charts = dict(picture["_now"]), dict(picture["_out"]), dict(picture["_last"]), picture["charts"]
    took, told, drawn = Counter(picture["_took"]), picture["bars"], picture["gantt"]
    moved, stale, messages = picture["_moved"], picture["_stale"], list(picture["messages"])
    workers = picture["_devices"].get(next(iter(picture["_depth"])), 0)
    for record in records:
        kind = record["kind"]
        if kind == "RoundStarted":
            everyone = record["devices"] >= workers  # of a fraction it is not told who was asked
            now = {node: "t" if kind == "worker" and everyone else "w" for node, kind in picture["_kinds"].items()}
            out, took = dict(picture["_devices"]) if everyone else {}, Counter()
            last |= {"round": record["round"], "devices": record["devices"], "in": 0}
        elif kind in ANSWERS:
            failed, devices = kind in ("DeviceFailed", "DevicesFailed"), _answered(picture, record, took)
            last |= {"in": last.get("in", 0) + len(devices), "failed": last.get("failed", 0) + failed * len(devices)}
            for device in devices:
                again, now[device] = device in took, "f" if failed else "d"
                took[device] += not failed
                above = picture["_parents"].get(device)
                while above is not None and out and not again:
                    out[above] = out.get(above, 0) - 1
                    now[above] = "g" if out[above] == 0 else now[above]
                    above = picture["_parents"][above]
            if failed:
                who = devices[0] if len(devices) == 1 else f"{len(devices):,} devices from {devices[0]} on"
                messages.append(f"Round {record['round']}, {who} failed: {record['reason']}")
            else:
                drawn = gantt.with_work(drawn, record, picture["_parents"])
        elif kind == "AggregatorFailed":
            now[record["aggregator"]] = "f"
            messages.append(f"Round {record['round']}, {record['aggregator']} failed, {record['parent']} took its "
                            f"children: {record['reason']}")
        elif kind == "RoundFinished":
            now |= {node: "d" for node, kind in picture["_kinds"].items() if kind != "worker" and now[node] != "f"}
            last = _finished(record, last)
            charts, told, stale = _curves(charts, record, last), _traffic(told, record), _staleness(stale, record)
            moved = _by_edge(picture, moved, took, record)
            drawn = gantt.with_round(drawn, record["round"], record.get("staleness") is not None)
        elif kind == "Command":
            text = ", ".join(f"{name} {value}" for name, value in record["command"].items())
            places = {"over_time": last.get("clock", 0)}
            charts = {key: with_mark(one, places.get(key, last.get("finished", 0)), text)
                      for key, one in charts.items()}
        elif kind == "Notice":
            messages.append(record["text"])
    if stale:
        told = told | {"staleness": bars("Staleness of updates (versions)", *_histogram(stale), "updates")}
    picture = {**picture, "charts": charts, "bars": told, "gantt": drawn, "_now": now, "_out": out, "_took": took,
               "_moved": moved, "_stale": stale, "_last": last,
               "messages": [message[:400] for message in messages[-MESSAGES:]]}
    return picture | {"tree": _tree(picture), "tiles": _tiles(picture)}


def _answered(picture: Mapping, record: Mapping, took: Counter) -> Sequence[str]:
    """The devices a record is about. Of a cohort only the number is told: its first ones that had not answered yet."""
    if record["kind"] == "DevicesFailed":
        return record["devices"]
    if record["kind"] != "CohortFinished":
        return [record["device"]]
    mine = (node for node in picture["_children"][record["parent"]] if node not in took)
    return list(islice(mine, record["devices"]))


def _finished(record: Mapping, last: Mapping) -> dict:
    """The numbers for the tiles, after one more round."""
    moved = last.get("bytes", 0) + record["bytes_down"] + record["bytes_up"]
    clock = last.get("clock", 0) + record["seconds"]
    same = {key: record.get(key) for key in ("accuracy", "loss", "seconds", "idle")}
    return {**last, "finished": record["round"], "bytes": moved, "clock": clock, **same}


def _curves(charts: dict, record: Mapping, last: Mapping) -> dict:
    x, accuracy = record["round"], record["accuracy"]
    loss = with_point(charts["loss"], "test data", x, record["loss"])
    return charts | {"accuracy": with_point(charts["accuracy"], "test data", x, accuracy),
                     "loss": with_point(loss, "devices' own data", x, record.get("train_loss")),
                     "over_time": with_point(charts["over_time"], "test data", round(last["clock"], 6), accuracy)}


def _traffic(told: dict, record: Mapping) -> dict:
    ways = {way: list(values) for way, values in told["traffic"]["series"].items()}
    for tier, both in enumerate(record["bytes_by_tier"][:len(told["traffic"]["names"])]):
        for way, count in zip(("down", "up"), both, strict=True):
            ways[way][tier] += count
    return told | {"traffic": told["traffic"] | {"series": ways}}


def _staleness(stale: Counter, record: Mapping) -> Counter:
    told = record.get("staleness")
    return stale + Counter({int(versions): count for versions, count in told}) if told else stale


def _histogram(stale: Counter) -> tuple[list[str], dict]:
    """Updates by staleness: 0, 1, 2, 3, 4–7, 8–15 …"""
    low, starts = SINGLE, list(range(SINGLE))
    while low <= max(stale):
        starts.append(low)
        low *= 2
    ends = [*starts[1:], low]
    spans = [(first, end - 1) for first, end in zip(starts, ends, strict=True) if first <= max(stale)]
    names = [str(first) if first == last else f"{first}–{last}" for first, last in spans]
    return names, {"updates": [sum(n for i, n in stale.items() if first <= i <= last) for first, last in spans]}


def _by_edge(picture: Mapping, moved: Mapping, took: Counter, record: Mapping) -> dict:
    """Bytes by node over the edge to its parent: a tier's are shared among the edges that took part in the round.

    Every edge gets the model as often as updates came over it; an aggregator's update weighs two models where it
    passes up sums of 64 bits. What the data plane counted for a tier is dealt out to the last byte.
    """
    parts = Counter(took)
    for device in took:
        above = picture["_parents"][device]
        while above is not None and above not in parts:
            parts[above] = 1
            above = picture["_parents"][above]
    fresh = dict(moved)
    for tier, both in enumerate(record["bytes_by_tier"]):
        nodes = [node for node in parts if picture["_depth"].get(node) == tier + 1]
        shares = []
        for count, inner in zip(both, (1, picture["_sums"]), strict=True):
            weights = [parts[node] * (1 if picture["_kinds"][node] == "worker" else inner) for node in nodes]
            shares.append(_dealt(count, weights))
        for node, down, up in zip(nodes, *shares, strict=True):
            before = fresh.get(node, (0, 0))
            fresh[node] = (before[0] + down, before[1] + up)
    return fresh


def _dealt(count: int, weights: Sequence[int]) -> list[int]:
    """`count` in whole parts by weight, to the last one."""
    ends = [count * reached // max(1, sum(weights)) for reached in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(ends)]


def _tree(picture: Mapping) -> dict:
    tiers = with_states(picture["_tiers"], picture["_groups"], picture["_now"], picture["_moved"])
    return {"round": picture["_last"].get("round"), "tiers": tiers}


def _tiles(picture: Mapping) -> list[dict]:
    last, simulated = picture["_last"], " (simulated)" if picture["_simulated"] else ""
    answered = f"{last['in']:,} of {last['devices']:,}" if "devices" in last else DASH
    told = [
        ("Round", f"{last['round']:,}" if "round" in last else DASH, "The round begun last."),
        ("Accuracy", number(last.get("accuracy")), "Of the newest model, on the test data."),
        ("Test loss", number(last.get("loss")), "Of the newest model, on the test data."),
        ("Devices in", answered, "Devices that have answered in this round, well or not."),
        ("Failures", f"{last.get('failed', 0):,}" if last else DASH, "Times a device gave no update, in all rounds."),
        (f"Round took{simulated}", duration(last.get("seconds")), "The newest finished round."),
        ("Moved", size(last.get("bytes")), "Bytes up and down the tree, in all rounds."),
    ]
    if picture["_simulated"]:
        took = duration(last.get("clock"))
        told[-1:-1] = [("All rounds (simulated)", took, "By the profiles of devices and links."),
                       ("Idle", DASH if last.get("idle") is None else f"{100 * last['idle']:.3g} %",
                        "Share of the devices' time, in the newest round, without training or a message on its way.")]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
