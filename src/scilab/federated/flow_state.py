"""The state of a flow between two records, as tensors and plain containers: versions, sums and updates in use, what
every node knows and waits for, and what is on its way with the time that is left.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from .contributions import Contribution
from .flow import Flow
from .versions import Version

NODE = ("version", "asked", "came", "parts", "collection", "collecting", "past", "failures", "absent")
FLOW = ("round", "counted", "counts", "misses", "retired", "replies", "advancing")


def snapshot(flow: Flow) -> dict[str, Any]:
    """What `restore` needs to go on as if nothing had happened."""
    get, now = flow.deployment.store.get, flow.traffic.clock()
    versions: dict[int, Any] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Version):
            if value.number not in versions:
                versions[value.number] = get(value.key)
            return {"version": value.number}
        if isinstance(value, Contribution):
            fields = {name: plain(entry) for name, entry in vars(value).items() if name != "key"}
            return {"rows": get(value.key), **fields}
        if isinstance(value, dict):
            return {"items": [[plain(key), plain(entry)] for key, entry in value.items()]}
        return [plain(entry) for entry in value] if isinstance(value, list | tuple | set) else value

    return {
        "flow": {name: plain(getattr(flow, name)) for name in FLOW},
        "nodes": [[name, [plain(getattr(node, entry)) for entry in NODE]] for name, node in flow.nodes.items()],
        "flights": [[f.what, plain(f.given), f.began, max(0.0, f.due - now)] for f in flow.traffic.under_way()],
        "clock": flow.deployment.clock(),
        "newest": plain(flow.versions.newest),
        "tested": plain(flow.versions.tested),
        "versions": list(versions.items()),
    }


def restore(flow: Flow, state: dict[str, Any]) -> None:
    """Bring a new flow to where `state` was; what was on its way is sent again, in the same order."""
    deployment = flow.deployment
    versions = {number: Version(number, deployment.put(flats)) for number, flats in state["versions"]}

    def real(value: Any) -> Any:
        if isinstance(value, list):
            return [real(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if "version" in value:
            return flow.versions.hold(versions[value["version"]])
        if "items" in value:
            return {tuple(key) if isinstance(key, list) else key: real(entry) for key, entry in value["items"]}
        fields = {name: real(entry) for name, entry in value.items() if name != "rows"}
        return Contribution(deployment.put(value["rows"]), **fields | {"weights": tuple(fields["weights"])})

    for name in ("newest", "tested"):
        flow.versions.let_go(getattr(flow.versions, name))
        setattr(flow.versions, name, real(state[name]))
    for name, value in state["flow"].items():
        kind = {"counts": Counter, "misses": Counter, "retired": set}.get(name, lambda found: found)
        setattr(flow, name, kind(real(value)))
    for name, values in state["nodes"]:
        node = flow.nodes[name]
        for entry, value in zip(NODE, values, strict=True):
            setattr(node, entry, set(value) if entry == "came" else real(value))
    deployment.resume_clock(state["clock"])
    flow.progress.begin()
    for what, given, began, left in state["flights"]:
        flow.traffic.start(what, left, began, **real(given))
