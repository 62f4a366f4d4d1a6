"""A campaign's records as a picture: every simulation, what was found against chance, queue, workers, people's acts.

Bounded however long a campaign is: of very many simulations some that are no hits are left out of the scatter plots,
and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import workers
from .picture import bars, chart, with_mark, with_point
from .words import DASH, number

POINTS, QUEUE, FOUND, MESSAGES = 2000, 6, 6, 20
LATEST = 20  # values whose distance from their predictions is averaged
START, MODEL, HAND, SCREENED, FLAGGED, FAILED = range(6)
KINDS = [
    {"name": "random start", "colour": 5, "shape": "circle", "hollow": True},
    {"name": "chosen by the model", "colour": 0, "shape": "circle"},
    {"name": "chosen by hand", "colour": 3, "shape": "diamond"},
    {"name": "screened (cheap)", "colour": 2, "shape": "triangle", "hollow": True},
    {"name": "flagged, counts not", "colour": 4, "shape": "square", "hollow": True},
    {"name": "failed, no value", "colour": 1, "shape": "cross"},
]
"""Of simulations; colours are places in the page's palette."""


def begin(settings: Mapping, words: Mapping, arm: Mapping | None = None) -> dict:
    """The picture before the first record. `settings` are a campaign's, run or planned; `words` has its "quantity" and
    "unit" and whether candidates are "drawn". `arm`, an unguided search of the same space, {"name", "values": one a
    simulation, None where it gave none}, stands for chance; without one that is estimated from the random start.
    """
    virtual = str(settings.get("engine", "")).startswith("virtual")
    time = "simulated s" if virtual else "s"
    quantity, unit = words["quantity"], words["unit"]
    slots = settings["slots"]
    picture = {
        "charts": {
            "hits": chart("Hits, by simulations", "simulations", "hits"),
            "best": chart("Best so far, by simulations", "simulations", quantity, y_unit=unit),
            "hits_time": chart("Hits, by time", "time", "hits", x_unit=time),
            "error": chart(f"Error of prediction, mean of {LATEST}", "simulations", "error", y_unit=unit),
        },
        "bars": {"idle": bars("Idle worker-seconds, by reason", [], {"idle": []})},
        "values": {"title": "Every simulation", "x": {"label": "time", "unit": time}, "marks": [], "left_out": 0,
                   "y": {"label": quantity, "unit": unit}, "points": [],
                   "level": [] if settings["threshold"] is None else [[0, settings["threshold"]]]},
        "gantt": workers.begin(time), "_log": [], "_errors": [],
        "live": {"acquisition": dict(settings["acquisition"]), "threshold": settings["threshold"],
                 "budget": settings["budget"], "slots": {pool: [0, slots[pool]] for pool in ("simulate", "learn")},
                 "pinned": [], "banned": []},
        "queue": {"rows": [], "version": None}, "found": [], "messages": [], "kinds": KINDS,
        "drawn": words["drawn"],
        "_unit": unit, "_arm": arm, "_sign": 1 if settings["maximize"] else -1, "_virtual": virtual, "_queue": [],
        "_space": settings["space"].get("candidates"), "_why": {}, "_start": [], "_since": 0.0 if virtual else None,
        "_last": {"clock": 0.0, "done": 0, "hits": 0, "best": None, "failed": 0, "flagged": 0, "guided": [0, 0]},
    }
    return _told(picture)


def draw(records: Sequence[Mapping], picture: Mapping) -> dict:
    """The picture after these records; pure, and the same however the records are batched."""
    fold = _Fold(picture)
    for record in records:
        fold.picture["_log"] = workers.kept(fold.picture["_log"], record)
        handler = getattr(fold, f"on_{record['kind']}", None)
        if handler is not None:
            handler(record)
        for decision in record.get("then", ()):
            fold.decided(decision)
    fold.picture |= workers.drawn(fold.picture["gantt"], fold.picture["_log"], fold.clock)
    return _told(fold.picture)


class _Fold:
    """One pass over records. What it changes is copied first, so the given picture stays as it is."""

    def __init__(self, picture: Mapping) -> None:
        live = picture["live"]
        self.picture = {
            **picture, "charts": dict(picture["charts"]), "_last": dict(picture["_last"]),
            "_why": dict(picture["_why"]), "_start": list(picture["_start"]), "_queue": list(picture["_queue"]),
            "messages": list(picture["messages"]), "found": list(picture["found"]),
            "values": {**picture["values"], "points": list(picture["values"]["points"]),
                       "level": list(picture["values"]["level"])},
            "live": {**live, "pinned": list(live["pinned"]), "banned": list(live["banned"]),
                     "slots": {pool: list(pair) for pool, pair in live["slots"].items()}},
        }
        self.last, self.live, self.values = (self.picture[key] for key in ("_last", "live", "values"))

    def clock(self, then: float | None) -> float:
        """Seconds that the campaign had been at it when its workers' clock showed `then`; None: as far as is known."""
        if then is not None:
            if self.picture["_since"] is None:
                self.picture["_since"] = then - self.last["clock"]
            then = round(then - self.picture["_since"], 4)
            self.last["clock"] = max(self.last["clock"], then)
        return self.last["clock"] if then is None else max(0.0, then)

    def decided(self, decision: Mapping) -> None:
        slots = self.live["slots"]
        if decision["what"] == "train":
            slots["learn"][0] = 1
            return
        if decision["what"] == "reallocate":
            slots[decision["source"]][1] -= decision["n"]
            slots[decision["to"]][1] += decision["n"]
            return
        slots["simulate"][0] += 1
        candidate = decision["candidate"]
        self.picture["_why"][decision["index"], decision["fidelity"]] = decision["why"]
        self.picture["_queue"] = [row for row in self.picture["_queue"] if row[0] != candidate]
        if candidate in self.live["pinned"]:
            self.live["pinned"].remove(candidate)

    def on_CampaignStarted(self, record: Mapping) -> None:
        self.picture["_space"] = record["space"]
        self._begins(record)

    def on_Resumed(self, record: Mapping) -> None:
        if not self.picture["_virtual"]:
            self.picture["_since"] = None  # the time between does not count
        self._begins(record)
        again = {True: ", and its model is the same as before", False: ", but its model came out otherwise", None: ""}
        self.tell(f"Resumed after {record['outcomes']:,} simulations; {record['again']:,} that were under way are run "
                  f"again{again[record['reproduced']]}.")

    def _begins(self, record: Mapping) -> None:
        for pool, count in record["slots"].items():
            self.live["slots"][pool][1] = count

    def on_Evaluated(self, record: Mapping) -> None:
        why, flagged = self._ended(record), record["flag"] is not None
        kind = START if why == "start" else HAND if why == "pinned" else MODEL
        if not record["counts"]:
            kind = SCREENED
        self._point(record, FLAGGED if flagged else kind, record["value"], record["flag"] or why)
        self.last["flagged"] += flagged
        if not record["counts"]:
            return
        self.last["done"] += 1
        self._sample(record, why, None if flagged else record["value"])
        if not flagged:
            self._error(record)
            self.last |= {"best": record["best"], "hits": record["hits"]}
            rows = [*self.picture["found"], [record["candidate"], record["value"]]]
            sign = self.picture["_sign"]
            self.picture["found"] = sorted(rows, key=lambda row: -sign * row[1])[:FOUND]
        self._curves()

    def on_Failed(self, record: Mapping) -> None:
        why = self._ended(record)
        self._point(record, FAILED, None, f"{record['reason']}: {record['error'][:200]}")
        self.last["failed"] += 1
        self.tell(f"{record['candidate']} failed ({record['reason']}): {record['error']}")
        if record["counts"]:
            self.last["done"] += 1
            self._sample(record, why, None)
            self._curves()

    def _ended(self, record: Mapping) -> str:
        """What a simulation's end means for slots, clock and workers; returns why it had been chosen."""
        slots = self.live["slots"]["simulate"]
        slots[0] = max(0, slots[0] - 1)
        self.clock(record["submitted"])
        return self.picture["_why"].pop((record["index"], record["fidelity"]), "start")

    def _sample(self, record: Mapping, why: str, value: float | None) -> None:
        """What the start gave is a random sample of the space; what the model chose is held against it."""
        if why == "start":
            self.picture["_start"].append(value)
        elif why != "pinned":
            hits, count = self.last["guided"]
            self.last["guided"] = [hits + bool(record.get("hit")), count + 1]

    def _point(self, record: Mapping, kind: int, value: float | None, note: str) -> None:
        points = self.values["points"]
        points.append([self.clock(record["ended"]), value, kind, record["candidate"], record.get("predicted"),
                       record.get("uncertainty"), record.get("model", 0), note])
        if len(points) > POINTS:  # of those that are no hits, every second of the older half goes
            half, sign, level = points[: POINTS // 2], self.picture["_sign"], self.live["threshold"]
            dull = [i for i, point in enumerate(half)
                    if point[1] is None or level is None or sign * point[1] <= sign * level][::2]
            gone = set(dull or range(0, POINTS // 2, 2))
            self.values["points"] = [point for i, point in enumerate(points) if i not in gone]
            self.values["left_out"] += len(gone)

    def _error(self, record: Mapping) -> None:
        if record["predicted"] is None:
            return
        errors = [*self.picture["_errors"], abs(record["value"] - record["predicted"])][-LATEST:]
        self.picture["_errors"] = errors
        charts = self.picture["charts"]
        mean = round(sum(errors) / len(errors), 4)
        charts["error"] = with_point(charts["error"], "this campaign", self.last["done"], mean)

    def _curves(self) -> None:
        charts, last = self.picture["charts"], self.last
        for key, x, y in (("hits", last["done"], last["hits"]), ("best", last["done"], last["best"]),
                          ("hits_time", last["clock"], last["hits"])):
            if y is not None:
                charts[key] = with_point(charts[key], "this campaign", x, y)

    def on_Learned(self, record: Mapping) -> None:
        self.live["slots"]["learn"][0] = 0
        self.clock(record["ended"])
        self.last |= {"version": record["version"], "samples": record["samples"]}
        self.picture["_queue"] = [list(row) for row in record["top"]]

    def on_Steered(self, record: Mapping) -> None:
        ((word, what),) = record["command"].items()
        pinned, banned = self.live["pinned"], self.live["banned"]
        if word in ("pin", "inject") and what not in pinned:
            pinned.append(what)
        for list_, ends in ((pinned, ("unpin", "ban")), (banned, ("unban",))):
            if word in ends and what in list_:
                list_.remove(what)
        if word == "ban":
            banned.append(what)
        elif word == "slots":
            for pool, count in record["slots"].items():
                self.live["slots"][pool][1] = count
        elif word == "threshold":
            before = [[self.last["clock"], self.live[word]]] if self.live[word] is not None else []
            self.values["level"] = [*self.values["level"], *before, [self.last["clock"], what]]
        if word in ("acquisition", "threshold", "budget"):
            self.live[word] = what
        self.clock(record["at"])
        self.last["hits"] = record["hits"]
        if record["top"]:
            self.picture["_queue"] = [list(row) for row in record["top"]]
        self._mark(act(record["command"]))

    def _mark(self, text: str) -> None:
        charts, now = self.picture["charts"], self.last["clock"]
        for key in charts:
            charts[key] = with_mark(charts[key], now if key.endswith("_time") else self.last["done"], text)
        for key in ("values", "gantt"):
            self.picture[key] = with_mark(self.picture[key], now, text)
        self.values = self.picture["values"]

    def on_Refused(self, record: Mapping) -> None:
        self.tell(f"Not done, {act(record['command'])}: {record['reason']}")

    def on_Notice(self, record: Mapping) -> None:
        self.tell(record["text"])

    def on_CampaignFinished(self, record: Mapping) -> None:
        self.tell(f"Over: {record['reason']}.")

    def tell(self, text: str) -> None:
        self.picture["messages"] = [*self.picture["messages"], text[:400]][-MESSAGES:]


def act(command: Mapping) -> str:
    """A person's act in a few words, for a mark on a plot."""
    ((word, what),) = command.items()
    if word == "acquisition":
        name, weight = what["name"], what.get("weight")
        return name if weight is None or name in ("random", "greedy", "uncertainty") else f"{name} {weight:g}"
    if word == "slots":
        return f"{what['n']} slot to {what['to']}" if what["n"] == 1 else f"{what['n']} slots to {what['to']}"
    if word == "drain":
        return "start nothing more"
    return word if what is True else f"{word} {what:g}" if isinstance(what, int | float) else f"{word} {what}"


def _told(picture: dict) -> dict:
    """The picture with what follows from all the rest: references, level, queue, tiles."""
    last, live = picture["_last"], picture["live"]
    rate, chance = _chance(picture)
    charts = dict(picture["charts"])
    done = max(1, last["done"])
    if rate is not None:
        line = [[0, 0], [done, round(rate * done, 3)]]
        sure = max(last["hits"], rate * (picture["_space"] or 0)) or done
        most = [[0, 0], [round(min(done, sure), 3), round(min(done, sure), 3)], [done, round(min(done, sure), 3)]]
        charts["hits"] = {**charts["hits"], "references": {chance: {"points": line}, "ceiling": {"points": most}}}
    if (arm := picture["_arm"]) is not None:
        best = _best(arm["values"][:done], picture["_sign"])
        charts["best"] = {**charts["best"], "references": {chance: {"points": best}}}
    queue = [row for row in picture["_queue"] if row[0] not in live["banned"] and row[0] not in live["pinned"]]
    rows = [[name, None, None, None] for name in live["pinned"]] + queue
    return {**picture, "charts": charts, "queue": {"rows": rows[:QUEUE], "version": last.get("version")},
            "tiles": _tiles(picture, rate, chance)}


def _chance(picture: Mapping) -> tuple[float | None, str]:
    """(hits a simulation of an unguided search, what that is known from)."""
    arm, level = picture["_arm"], picture["live"]["threshold"]
    values = picture["_start"] if arm is None else arm["values"]
    name = "random, estimated from the start" if arm is None else f"random: {arm['name']}"
    if level is None or not values:
        return None, name
    sign = picture["_sign"]
    return sum(value is not None and sign * value > sign * level for value in values) / len(values), name


def _best(values: Sequence[float | None], sign: int) -> list[list[float]]:
    points, best = [], None
    for count, value in enumerate(values, 1):
        if value is not None and (best is None or sign * value > sign * best):
            points += [[count, best]] if best is not None else []
            best = value
            points.append([count, best])
    return [*points, [len(values), best]] if best is not None else []


def _tiles(picture: Mapping, rate: float | None, chance: str) -> list[dict]:
    last, live, unit = picture["_last"], picture["live"], picture["_unit"]
    hits, guided = last["guided"]
    better = hits / guided / rate if guided and rate else None
    best = DASH if last["best"] is None else f"{number(last['best'], 4)} {unit}".strip()
    told: list[tuple[str, Any, str]] = [
        ("Simulated", f"{last['done']:,} of {live['budget']:,}", "Simulations that have ended, of the budget."),
        ("Best", best, "The best value that counts." + (f" {picture['found'][0][0]}" if picture["found"] else "")),
        ("Hits", f"{last['hits']:,}" if live["threshold"] is not None else DASH,
         "Values that count beyond the threshold."),
        ("Better than chance", DASH if better is None else f"× {number(better, 2)}",
         f"Hits a simulation that the model chose, over those of a random search ({chance}); a dash until both are "
         "known."),
        ("Model", f"{last['version']}, of {last['samples']:,} values" if "version" in last else DASH,
         "The newest model, and what it was trained on."),
        ("Workers busy", DASH if picture["gantt"]["share"] is None else f"{100 * picture['gantt']['share']:.0f} %",
         "Share of the workers' time in which they computed" + (", since the resume or of the latest "
         f"{workers.TASKS} tasks." if picture["gantt"]["cut"] else ".")),
        ("Failed, flagged", f"{last['failed']:,}, {last['flagged']:,}",
         "Simulations that gave no value, and values that do not count, such as molecules that rearranged."),
    ]
    return [{"label": label, "value": value, "help": text} for label, value, text in told]
