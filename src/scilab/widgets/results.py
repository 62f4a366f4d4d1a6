"""What a run leaves, as files: the model, the history as a table, the tree, what a campaign computed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from scilab.runs import Journal


def history_csv(records: Sequence[Mapping], kind: str) -> bytes:
    """The records of one kind as a table with a header, UTF-8; lists are written as a,b|c,d. ValueError without any."""
    rows = [record for record in records if record["kind"] == kind]
    if not rows:
        raise ValueError("There is no history yet: no round has finished.")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("n", "t", "kind")))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode()


SIMULATION = ("candidate", "fidelity", "value", "flag", "hit", "reason", "error", "predicted", "uncertainty", "model",
              "submitted", "started", "ended", "worker", "attempts", "cached", "quarantined")


def campaign_csv(records: Sequence[Mapping], settings: Mapping, unit: str, run: str) -> bytes:
    """A row for each simulation of a campaign, with why it was chosen and where its value comes from.

    Times are unix seconds of the workers' clocks. ValueError without any.
    """
    why: dict[tuple, tuple] = {}
    rows = []
    for record in records:
        if record["kind"] in ("Evaluated", "Failed"):
            chosen = why.pop((record["index"], record["fidelity"]), ("", ""))
            details = ", ".join(f"{name} {value}" for name, value in record.get("details", {}).items())
            simulator = settings["simulator"].get(record["fidelity"], "")
            rows.append([*(record.get(name) for name in SIMULATION), unit, *chosen, simulator, details, run])
        for each in record.get("then", ()):
            if each["what"] == "simulate":
                why[each["index"], each["fidelity"]] = (each["why"], each["ranking"])
    if not rows:
        raise ValueError("There is no table yet: no simulation has ended.")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["smiles" if name == "candidate" else name for name in SIMULATION]
                   + ["unit", "chosen", "ranking", "simulator", "details", "run"])
    table.writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "|".join(",".join(map(str, each)) if isinstance(each, list | tuple) else str(each) for each in value)
    return value


def model_file(journal: Journal, id: str) -> bytes:
    """The model after the last finished round, as `torch.save` of its state_dict. ValueError if there is none yet."""
    import torch

    state = journal.checkpoint(id)
    if state is None:
        raise ValueError("There is no model yet: no round has finished.")
    file = io.BytesIO()
    torch.save(state["model"], file)
    return file.getvalue()


def tree_yaml(topology: Mapping) -> bytes:
    """A tree, as `Topology.to_dict` gives it, for `Topology.from_yaml`."""
    import yaml

    one = {"default_flow_style": True, "width": 10**9}  # a line for each node
    nodes = "".join(f"- {yaml.safe_dump(list(node), **one)}" for node in topology["nodes"])
    rest = {key: value for key, value in topology.items() if key != "nodes"}
    return (f"nodes:\n{nodes}" + (yaml.safe_dump(rest) if rest else "")).encode()
