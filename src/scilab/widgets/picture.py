"""The parts of a picture that every panel draws: number tiles, line charts and bars.

A picture is plain JSON, made by folding records: ``draw(records, picture) -> picture``. The base page draws three of
its keys, a panel's own page module may draw more, and keys that begin with "_" stay in the kernel (what the fold must
remember):

``tiles``   [{"label", "value" (text), "help"}]
``charts``  {id: {"title", "x": axis, "y": axis, "series": {name: {"points": [[x, y], …]}}, "marks": [[x,
 text], …]}} with axis = {"label", "unit"}, and for y "log": true where its scale is logarithmic; a mark shows where a
 person acted. "references", if there, are series that are only drawn to compare with.
``bars``    {id: {"title", "unit", "names": [row, …], "series": {name: [value by row, …]}}}
"""

from __future__ import annotations

POINTS = 400  # per series: more than a panel has pixels for


def chart(title: str, x: str, y: str, x_unit: str = "", y_unit: str = "", log: bool = False) -> dict:
    """An empty chart."""
    up = {"label": y, "unit": y_unit} | ({"log": True} if log else {})
    return {"title": title, "x": {"label": x, "unit": x_unit}, "y": up, "series": {}, "marks": []}


def bars(title: str, names: list[str], series: dict[str, list], unit: str = "") -> dict:
    """Horizontal bars: a row for each name, in it one bar of each series. In ``unit`` "bytes" they read 1.2 MB."""
    return {"title": title, "unit": unit, "names": names, "series": series}


def with_point(of: dict, series: str, x: float, y: float | None) -> dict:
    """The chart with one point more; the given one is left as it is.

    A long series keeps every 2nd, 4th, 8th … point and always the newest, so it never exceeds `POINTS` + 1. Which
    points stay depends on their order alone, not on how records were batched. ``y`` None leaves a gap.
    """
    held = of["series"].get(series, {"points": [], "seen": 0, "stride": 1})
    points, seen, stride = held["points"], held["seen"], held["stride"]
    if points and (seen - 1) % stride:  # the last one was there only as the newest
        points = points[:-1]
    points = [*points, [x, y]]
    if len(points) > POINTS and not seen % stride:
        points, stride = points[::2], stride * 2
        if seen % stride:
            points = [*points, [x, y]]
    grown = {"points": points, "seen": seen + 1, "stride": stride}
    return of | {"series": of["series"] | {series: grown}}


def with_mark(of: dict, x: float, text: str) -> dict:
    """The chart with a mark where a person acted; of many, the latest 50 stay."""
    return of | {"marks": [*of["marks"], [x, text]][-50:]}


def overlaid(pictures: dict[str, dict]) -> dict:
    """Charts and bars of several runs in one: each series named by its run (and by itself, where there are several)."""
    charts: dict[str, dict] = {}
    merged_bars: dict[str, dict] = {}
    for place, (run, picture) in enumerate(pictures.items()):
        for key, single in picture.get("charts", {}).items():
            unit = single["x"]["unit"]  # simulated seconds and real ones have no axis in common
            merged = charts.setdefault(f"{key} {unit}".strip(), single | {"series": {}, "marks": []})
            for name, series in single["series"].items():
                label = run if len(single["series"]) == 1 else f"{run}: {name}"
                merged["series"][label] = {"points": series["points"], "run": place}
        for key, single in picture.get("bars", {}).items():
            known = merged_bars.get(key, single | {"names": [], "series": {}})
            names = [*known["names"], *(name for name in single["names"] if name not in known["names"])]
            rows = {row: dict(zip(known["names"], values, strict=True)) for row, values in known["series"].items()}
            for name, values in single["series"].items():
                label = run if len(single["series"]) == 1 else f"{run}: {name}"
                rows[label] = dict(zip(single["names"], values, strict=True))
            series = {label: [row.get(name) for name in names] for label, row in rows.items()}
            merged_bars[key] = known | {"names": names, "series": series}
    return {"charts": charts, "bars": merged_bars}
