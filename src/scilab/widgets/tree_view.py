"""A tree as the page draws it: tier by tier, large tiers as counts, which a person can unfold.

The view is bounded whatever the number of nodes: where a tier has more than `SHOWN` nodes, the children of each entry
of the tier above are one entry, a group with counts. An unfolded group also tells its members, one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

SHOWN = 64  # nodes of a tier drawn one by one
UNFOLDED = 1024  # of a group
WORD = {"coordinator": "coordinator", "aggregator": "aggregator", "worker": "device"}


def tiers_of(nodes: Sequence[Sequence], unfolded: Collection[str] = ()) -> tuple[list[dict], list[list[list[str]]]]:
    """Tiers for the page, and which nodes each entry of each tier stands for.

    ``nodes`` are [id, parent's id or None, kind]; ``unfolded`` names groups by their first node. A tier has, by entry:
    ``parents`` (the entry above), ``names`` (of a group: its first node's), ``counts``, ``kinds`` (c, a, w or m for
    mixed); and ``members`` {entry: names} of groups that are unfolded.
    """
    kinds = {node: kind for node, _, kind in nodes}
    children: dict[str | None, list[str]] = {}
    for node, parent, _ in nodes:
        children.setdefault(parent, []).append(node)
    tiers: list[dict] = []
    groups: list[list[list[str]]] = []
    above: list[list[str | None]] = [[None]]
    while (count := sum(len(children.get(node, ())) for group in above for node in group)) > 0:
        parents, entries = [], []
        for place, group in enumerate(above):
            below = [child for node in group for child in children.get(node, ())]
            split = [[node] for node in below] if count <= SHOWN else [below] if below else []
            parents += [place] * len(split)
            entries += split
        letters = ["".join(sorted({kinds[node][0] for node in entry})) for entry in entries]
        told = Counter(kinds[node] for entry in entries for node in entry)
        tiers.append({
            "label": ", ".join(counted(kind, n) for kind, n in told.items()), "parents": parents,
            "names": [entry[0] for entry in entries], "counts": [len(entry) for entry in entries],
            "kinds": "".join(each if len(each) == 1 else "m" for each in letters),
            "members": {str(i): entry[:UNFOLDED] for i, entry in enumerate(entries)
                        if len(entry) > 1 and entry[0] in unfolded}})  # fmt: skip
        groups.append(entries)
        above = entries
    return tiers, groups


def with_states(tiers: Sequence[Mapping], groups: Sequence, now: Mapping[str, str], moved: Mapping) -> list[dict]:
    """The tiers with ``now``, by entry: a node's letter, a group's {letter: count}, or the letters of an unfolded
    group's members; and ``bytes``, by entry: (down, up) over the edges to the parents.
    """
    told = []
    for tier, entries in zip(tiers, groups, strict=True):
        states = ["".join(now[node] for node in entry) for entry in entries]
        folded = [one if len(one) == 1 or str(i) in tier["members"] else dict(Counter(one))
                  for i, one in enumerate(states)]
        told.append({**tier, "now": [one[:UNFOLDED] if isinstance(one, str) else one for one in folded],
                     "bytes": [[sum(way) for way in zip(*(moved.get(n, (0, 0)) for n in entry), strict=True)]
                               for entry in entries]})
    return told


def group_of(groups: Sequence, node: str) -> list[str]:
    """The nodes of the entry whose first one this is; the node alone if there is none."""
    return next((entry for tier in groups for entry in tier if entry[0] == node), [node])


def counted(kind: str, n: int) -> str:
    """ "coordinator", "1 device", "2,048 devices"."""
    return WORD[kind] if kind == "coordinator" else f"{n:,} {WORD[kind]}{'s' if n != 1 else ''}"
