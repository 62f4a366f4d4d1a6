"""A federation's records as a picture: accuracy and loss by round, what each node is doing, bytes by tier, failures.

The picture is bounded whatever the number of devices: a tier of more than `SHOWN` nodes is shown as counts, one group
for each parent (or one in all, where the parents are too many themselves). A node's state is one letter: w waiting,
t asked to train and awaited, g gathered (all devices below it have answered), d done, f failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .picture import chart, with_mark, with_point
from .words import DASH, duration, number, size

SHOWN = 64  # nodes of a tier drawn one by one
MESSAGES = 20  # the latest ones


def begin(nodes: Sequence[Sequence]) -> dict:
    """The picture before the first round; ``nodes`` are [id, parent's id or None, kind] in any order."""
    parents = {node: parent for node, parent, _ in nodes}
    kinds = {node: kind for node, _, kind in nodes}
    children: dict[str | None, list[str]] = {}
    devices: Counter[str] = Counter()  # below each node
    for node, parent in parents.items():
        children.setdefault(parent, []).append(node)
        while kinds[node] == "worker" and parent is not None:
            devices[parent] += 1
            parent = parents[parent]
    tiers, groups, tier = [], [], children.get(None, [])
    while tier:
        above = {name: i for i, name in enumerate(groups[-1][0])} if tiers and "labels" in tiers[-1] else {}
        kind_counts = Counter(kinds[node] for node in tier)
        told = {"label": ", ".join(_counted(kind, n) for kind, n in kind_counts.items())}
        if len(tier) <= SHOWN:
            tiers.append(told | {"labels": tier, "parents": [above.get(parents[node]) for node in tier]})
            groups.append([tier])
        else:
            split: dict[int | None, list[str]] = {}
            for node in tier:
                split.setdefault(above.get(parents[node]), []).append(node)
            tiers.append(told | {"parents": list(split)})
            groups.append(list(split.values()))
        tier = [child for node in tier for child in children.get(node, [])]
    picture = {
        "charts": {"accuracy": chart("Accuracy on the test data", "round", "accuracy"),
                   "loss": chart("Loss", "round", "loss")},
        "traffic": [[f"{upper['label']} ↔ {lower['label']}", 0, 0] for upper, lower in pairwise(tiers)],
        "messages": [], "tiles": _tiles({}), "_parents": parents, "_kinds": kinds, "_devices": devices, "_tiers": tiers,
        "_groups": groups, "_now": dict.fromkeys(kinds, "w"), "_out": {}, "_last": {},
    }
    return picture | {"tree": _tree(picture)}


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    now, out, last, charts = dict(picture["_now"]), dict(picture["_out"]), dict(picture["_last"]), picture["charts"]
    traffic, messages = [list(row) for row in picture["traffic"]], list(picture["messages"])
    for record in records:
        kind = record["kind"]
        if kind == "RoundStarted":
            now = {node: "t" if kind == "worker" else "w" for node, kind in picture["_kinds"].items()}
            out = dict(picture["_devices"])
            last |= {"round": record["round"], "devices": record["devices"], "in": 0}
        elif kind in ("DeviceFinished", "DeviceFailed"):
            failed = kind == "DeviceFailed"
            now[record["device"]] = "f" if failed else "d"
            last |= {"in": last.get("in", 0) + 1, "failed": last.get("failed", 0) + failed}
            above = picture["_parents"].get(record["device"])
            while above is not None:
                out[above] = out.get(above, 0) - 1
                now[above] = "g" if out[above] == 0 else now[above]
                above = picture["_parents"][above]
            if failed:
                messages.append(f"Round {record['round']}, {record['device']} failed: {record['reason']}")
        elif kind == "RoundFinished":
            now |= {node: "d" for node, kind in picture["_kinds"].items() if kind != "worker"}
            x = record["round"]
            loss = with_point(charts["loss"], "test data", x, record["loss"])
            charts = charts | {"accuracy": with_point(charts["accuracy"], "test data", x, record["accuracy"]),
                               "loss": with_point(loss, "devices' own data", x, record.get("train_loss"))}
            for row, (down, up) in zip(traffic, record["bytes_by_tier"], strict=False):
                row[1:] = [row[1] + down, row[2] + up]
            moved = last.get("bytes", 0) + record["bytes_down"] + record["bytes_up"]
            last |= {"finished": x, "bytes": moved, **{key: record[key] for key in ("accuracy", "loss", "seconds")}}
        elif kind == "Command":
            text = ", ".join(f"{name} {value}" for name, value in record["command"].items())
            charts = {key: with_mark(one, last.get("finished", 0), text) for key, one in charts.items()}
        elif kind == "Notice":
            messages.append(record["text"])
    picture = {**picture, "charts": charts, "traffic": traffic, "tiles": _tiles(last), "_now": now, "_out": out,
               "_last": last, "messages": [message[:400] for message in messages[-MESSAGES:]]}
    return picture | {"tree": _tree(picture)}


def _counted(kind: str, n: int) -> str:
    word = {"worker": "device"}.get(kind, kind)
    return word if kind == "coordinator" else f"{n:,} {word}{'s' if n > 1 else ''}"


def _tree(picture: Mapping) -> dict:
    """Tiers for the page. Nodes: ``now`` has a letter each; groups: ``now`` has {letter: count} each."""
    now, tiers = picture["_now"], []
    for tier, groups in zip(picture["_tiers"], picture["_groups"], strict=True):
        states = ["".join(now[node] for node in group) for group in groups]
        tiers.append(tier | {"now": states[0] if "labels" in tier else [dict(Counter(each)) for each in states]})
    return {"round": picture["_last"].get("round"), "tiers": tiers}


def _tiles(last: Mapping) -> list[dict]:
    answered = f"{last['in']:,} of {last['devices']:,}" if "devices" in last else DASH
    told = [
        ("Round", f"{last['round']:,}" if "round" in last else DASH, "The round begun last."),
        ("Accuracy", number(last.get("accuracy")), "Of the newest model, on the test data."),
        ("Test loss", number(last.get("loss")), "Of the newest model, on the test data."),
        ("Devices in", answered, "Devices that have answered in this round, well or not."),
        ("Failures", f"{last.get('failed', 0):,}" if last else DASH, "Times a device gave no update, in all rounds."),
        ("Round took", duration(last.get("seconds")), "The newest finished round."),
        ("Moved", size(last.get("bytes")), "Bytes up and down the tree, in all rounds."),
    ]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
