"""Drawing a tree by hand: what is selected, what is done to it, undo; all of it works without a page.

The tree drawn is the field "topology" of the panel, a `Draft`. A mistake is said beside the drawing, and changes
nothing. What can be changed of the node, group or tier that is selected stands in a form of its own, ``side``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scilab.federated import Profile

from . import policy
from .drawing import Draft, read_tree
from .fields import Number, Text, for_page, judge
from .tree_view import WORD, counted, group_of
from .words import ACTIVE, DASH, number, size

UNDO = 100  # steps
YAML_BYTES = 8_000_000
DRAWN_BY = ("shape", "topology", "policies")  # what undo takes back

NAME = Text(name="name", label="Name", default="", help="What the node is called, here and in the records.")
LINK = (
    Number(name="bandwidth", label="Bandwidth", unit="Mbit/s", default=None, minimum=1e-6, maximum=1e9, optional=True,
           help="Of the link to its parent, each way; empty is no limit. Counts in simulated time."),
    Number(name="latency", label="Latency", unit="ms", default=0, minimum=0, maximum=1e9,
           help="Of the link to its parent. Counts in simulated time."),
)  # fmt: skip
DEVICE = (
    Number(name="speed", label="Speed", unit="samples/s", default=1000, minimum=1e-9, maximum=1e12,
           help="How fast the device trains. Counts in simulated time."),
    Number(name="availability", label="Availability", default=1, minimum=0, maximum=1,
           help="How probable it is that the device answers when it is asked in a round."),
)  # fmt: skip
STATE = {"w": "waiting", "t": "awaited", "g": "gathered", "d": "done", "f": "failed"}


class TreeEditing:
    """The half of the federation's panel that concerns its tree."""

    _unfolded: frozenset = frozenset()
    _selected: Mapping = {}
    _undo: tuple = ()
    _redo: tuple = ()
    _refused: str = ""
    _side_typed: Mapping = {}

    # ---- what a click does

    def do_select(self, node: str | None = None, all: bool = False, tier: int | None = None) -> None:
        """Select a node, a group (``all`` that stand with its first node), a tier, or nothing."""
        with self._lock:
            self._select({} if node is None and tier is None else {"node": node, "all": all, "tier": tier})

    def do_unfold(self, node: str) -> None:
        """Show the nodes of a group one by one, or as counts again."""
        with self._lock:
            self._unfolded = self._unfolded ^ {node}
            self._drawn = self.unfold(self._drawn, self._unfolded)

    def do_draw(self, act: str, **args: Any) -> dict:
        """Change the tree: ``add`` (near, kind, count), ``remove`` and ``move`` (node, all, to), ``undo``, ``redo``."""
        acts: dict[str, Callable] = {"add": self._add, "remove": self._remove, "move": self._move}
        if act in ("undo", "redo"):
            return self._beside(self._step_back, act)
        if act not in acts:
            raise ValueError(f"A tree is changed by {', '.join(acts)}, undo and redo; given {act!r}.")
        return self._beside(acts[act], **args)

    def do_side(self, values: Mapping) -> dict:
        """Type values into the form of what is selected."""
        self._side_typed = {**self._side_typed, **values}
        return self._beside(self._take_side)

    def do_open_tree(self, path: str | None = None, data: Any = None) -> dict:
        """Take the tree of a YAML file, from a path or as uploaded by the page."""
        def take() -> Draft:
            text = Path(path).expanduser().read_text() if path is not None else bytes(data or b"").decode()
            if len(text) > YAML_BYTES:
                raise ValueError(f"This file has {size(len(text))}; a tree has {size(YAML_BYTES)} at most.")
            return Draft.of(read_tree(text))

        return self._beside(take)

    # ---- changes; each gives the new draft

    def _add(self, near: str, kind: str, count: int = 1) -> Draft:
        draft = self.draft.add(near, kind, count)
        if count == 1:
            self._select({"node": draft.nodes[-1][0], "all": False, "tier": None})
        return draft

    def _remove(self, node: str, all: bool = False) -> Draft:
        draft = self.draft.remove(self._members(node, all))
        self._select({})
        return draft

    def _move(self, node: str, to: str, all: bool = False) -> Draft:
        return self.draft.move(self._members(node, all), to)

    def _take_side(self) -> Draft | None:
        fields, before = self._side_fields()
        form = judge(fields, {**before, **self._side_typed})
        changed = {name for name in self._side_typed if name in form.values and name not in form.errors}
        old, nodes = self.draft, self._selected_nodes()
        draft = old
        given = {name: form.values[name] for name in changed}
        profile = {name: given[name] for name in ("speed", "availability") if name in given}
        if "bandwidth" in given:
            profile["bandwidth_bps"] = None if given["bandwidth"] is None else given["bandwidth"] * 1e6
        if "latency" in given:
            profile["latency_s"] = given["latency"] / 1e3
        for way, kinds in (({"speed", "availability"}, {"worker"}), ({"bandwidth_bps", "latency_s"}, set(WORD))):
            part = {name: value for name, value in profile.items() if name in way}
            of = [n for n in nodes if draft.kinds[n] in kinds and draft.kinds[n] != "coordinator"]
            draft = draft.profiled(of, **part) if part else draft
        if "name" in given and len(nodes) == 1 and given["name"] != nodes[0]:
            draft = draft.rename(nodes[0], given["name"])
            self._select({**self._selected, "node": given["name"].strip()})
        if self._selected.get("tier") is not None and changed & {each.name for each in policy.FIELDS}:
            self._remember()
            self._typed["policies"] = policy.with_policy(
                self.values["policies"], self._selected["tier"], policy.plain(form.values))
            self._redraw()
        return draft if draft is not old else None

    def _step_back(self, act: str) -> None:
        here, there = ("_undo", "_redo") if act == "undo" else ("_redo", "_undo")
        if not getattr(self, here):
            raise ValueError(f"There is nothing to {act}.")
        self._side_typed = {}
        setattr(self, there, (*getattr(self, there), self._tree_values()))
        self._typed |= getattr(self, here)[-1]
        setattr(self, here, getattr(self, here)[:-1])
        self._redraw()

    def _beside(self, change: Callable, *args: Any, **keys: Any) -> dict:
        """Make a change; what is wrong with it is said beside the drawing, which then stays as it was."""
        with self._lock:
            self._refused = ""
            try:
                if why := self._not_editable():
                    raise ValueError(why)
                draft = change(*args, **keys)
                if draft is not None:
                    self._remember()
                    self._typed |= {"shape": "drawn", "topology": draft}
                    self._redraw()
            except (ValueError, OSError) as error:
                self._refused = str(error)
                return {"ok": False, "message": self._refused}
        return {}

    def _select(self, what: Mapping) -> None:
        self._selected, self._side_typed, self._refused = what, {}, ""

    def _remember(self) -> None:
        self._undo, self._redo = (*self._undo, self._tree_values())[-UNDO:], ()

    def _tree_values(self) -> dict:
        return {name: self._typed.get(name, field.default) for name in DRAWN_BY
                for field in self.fields if field.name == name}

    def _redraw(self) -> None:
        self._judge()
        self._show(None)

    # ---- what is true

    @property
    def draft(self) -> Draft:
        """The tree as it would be launched, or as it is drawn so far."""
        values = self._form.values
        if values["shape"] == "drawn" and values["topology"] is not None:
            return values["topology"]
        return Draft.of(self.topology_of(values))

    def _not_editable(self) -> str:
        if self._run is not None and self._run.status in ACTIVE:
            return "The tree is fixed while the run goes on."
        if self._fixed():
            return "This tree was made by code."
        return "This is the tree of the run shown." if self._run is not None else ""

    def _members(self, node: str, all: bool) -> list[str]:
        return group_of(self._drawn["_groups"], node) if all else [node]

    def _selected_nodes(self) -> list[str]:
        """Those of the selection that are there."""
        selected, groups = self._selected, self._drawn.get("_groups", [])
        if selected.get("tier") is not None:
            return [n for entry in groups[selected["tier"]] for n in entry] if selected["tier"] < len(groups) else []
        known = self._drawn.get("_kinds", {})
        return [n for n in self._members(selected["node"], selected["all"]) if n in known] if selected else []

    def extra(self) -> dict:
        why = self._not_editable()
        errors = {} if self._run is not None else self._form.errors
        wrong = self._refused or errors.get("topology") or errors.get("policies") or ""
        policies = [policy.said(each) for each in self._policies()]
        if all(each == "synchronous" for each in policies):
            policies = []
        return {"editing": {"on": not why, "why": why, "wrong": wrong, "undo": bool(self._undo),
                            "redo": bool(self._redo), "again": bool(why) and not self._fixed()
                            and self._run.status not in ACTIVE},
                "policies": policies, "side": self._side()}

    def _side(self) -> dict:
        """The form and the facts of what is selected; empty where nothing is."""
        nodes = self._selected_nodes()
        if not nodes:
            return {}
        kinds, parents = self._drawn["_kinds"], self._drawn["_parents"]
        sorts = [kind for kind in WORD if any(kinds[node] == kind for node in nodes)]
        told = ", ".join(counted(kind, sum(kinds[node] == kind for node in nodes)) for kind in sorts)
        tier = self._selected.get("tier")
        title = f"Tier {tier}: {told}" if tier is not None else nodes[0] if len(nodes) == 1 else told
        fields, before = self._side_fields()
        form = judge(fields, {**before, **self._side_typed})
        errors = {name: why for name, why in form.errors.items() if name in self._side_typed}  # several values: empty
        shown = for_page(fields, replace(form, errors=errors), {**before, **self._side_typed})
        return {"title": title, "what": self._selected, "form": shown | {"locked": self._not_editable()},
                "facts": self._facts(nodes, kinds, parents)}

    def _facts(self, nodes: Sequence[str], kinds: Mapping, parents: Mapping) -> list[list[str]]:
        drawn, facts = self._drawn, []
        if len(nodes) == 1:
            node = nodes[0]
            facts += [["Kind", WORD[kinds[node]]], ["Below", parents[node] or DASH],
                      ["State", STATE[drawn["_now"][node]]]]
            if kinds[node] != "worker":
                facts.append(["Devices below", f"{drawn['_devices'].get(node, 0):,}"])
            if site := drawn["_profiles"].get(node, {}).get("engine"):
                facts.append(["Runs at", site])
        moved = [drawn["_moved"].get(node, (0, 0)) for node in nodes]
        if kinds[nodes[0]] != "coordinator":
            down, up = (sum(way) for way in zip(*moved, strict=True))
            facts += [["Down its link" if len(nodes) == 1 else "Down their links", size(down or None)],
                      ["Up", size(up or None)]]
        return facts

    def _side_fields(self) -> tuple[list, dict]:
        """The fields of the selection, and their values now; a value that differs among nodes is left empty."""
        nodes, tier = self._selected_nodes(), self._selected.get("tier")
        kinds = {self._drawn["_kinds"][node] for node in nodes}
        fields, values = [], {}
        if len(nodes) == 1 and tier is None:
            fields, values = [NAME], {"name": nodes[0]}
        if tier is not None and kinds - {"worker"}:
            policies = self._policies()
            fields += policy.FIELDS
            values |= policy.typed(policies[tier] if tier < len(policies) else policy.SYNCHRONOUS)
        profiled = [node for node in nodes if self._drawn["_kinds"][node] != "coordinator"]
        profiles = [self._profile_of(node) for node in profiled]
        if "worker" in kinds:
            fields += DEVICE
            values |= {"speed": _common([p.speed for n, p in zip(profiled, profiles, strict=True)
                                         if self._drawn["_kinds"][n] == "worker"]),
                       "availability": _common([p.availability for n, p in zip(profiled, profiles, strict=True)
                                                if self._drawn["_kinds"][n] == "worker"])}
        if profiled:
            fields += LINK
            bandwidth = _common([p.bandwidth_bps for p in profiles])
            values |= {"bandwidth": bandwidth and number(bandwidth / 1e6, 9).replace(",", ""),
                       "latency": _common([p.latency_s * 1e3 for p in profiles])}
        return fields, values

    def _policies(self) -> list[dict]:
        """Of the run shown, or as set; those of tiers that the tree lacks are left out."""
        given = (self._settings.get("values") or self._settings).get("policies") or []
        return given[:max(0, len(self._drawn.get("_groups", ())) - 1)]

    def _profile_of(self, node: str) -> Profile:
        given = self._drawn.get("_profiles", {}).get(node)
        return Profile(**given) if given else Profile()


def _common(values: Sequence) -> Any:
    """What all have, or None."""
    return values[0] if values and all(value == values[0] for value in values) else None
