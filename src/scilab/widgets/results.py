"""What a run leaves, as files: the model, the history as a table, the tree."""

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
