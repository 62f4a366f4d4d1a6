"""`SteeringWidget`: launch a campaign, watch what it finds, steer it by hand while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import molecule, results, steering_picture
from .browser import file_stem
from .estimate import Estimate
from .federation_fields import CORES
from .panel import HERE, Panel
from .steering_fields import FIELDS, MOLECULES, as_settings, molecules_in, suiting, values_of
from .steering_script import script
from .words import ACTIVE

ABOUT = {"quantity": "value", "unit": "", "drawn": True}  # of a campaign that was built in code
APPLICATIONS = ("ionization_potential", "alloy_stability", "water_potential")
CPU_S = {"4": 0.05, "5": 0.08, "6": 0.1, "7": 0.13, "alloy_stability": 0.15, "water_potential": 0.03}
"""Of one simulation on one 2.9 GHz core (measured; an estimate)."""
SPACE_S = {"4": 0.3, "5": 1.5, "6": 9.0, "7": 90.0, "alloy_stability": 0.5, "water_potential": 0.5}
"""Until all candidates are enumerated."""
IMPROVEMENT = "expected improvement"
LOOKED = 60  # of the journal's newest runs, for one to compare with
ARM = 20  # simulations that an unguided search must have made to stand for chance


class SteeringWidget(Panel):
    """A campaign live: ``SteeringWidget()`` sets everything by hand, ``SteeringWidget(run)`` shows and steers a run,
    ``SteeringWidget(campaign)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "Campaign"
    kind = "campaign"
    unit = "simulations"
    module = HERE / "steering.js"
    fields = FIELDS

    def check(self, values: Mapping) -> Mapping[str, str]:
        if (values["surrogate"] == "potential") != (values["application"] == "water_potential"):
            return {"surrogate": "Potentials are for water, and water is for potentials."}
        if values["space"] == "file" and not values["file"]:
            return {"file": "Give the path of a file with one SMILES a line."}
        if values["space"] == "uploaded" and not values["candidates"]:
            return {"space": "Nothing is uploaded yet: press Open SMILES…, beside."}
        if values["retrain"] != "never" and not values["learn"]:
            return {"learn": "A model is to be trained: give learning 1 slot, or choose never under Train."}
        if values["retrain"] != "never" and values["initial"] > values["budget"]:
            return {"initial": f"At most the budget, {values['budget']:,}."}
        return {}

    def plan(self, values: Mapping) -> dict:
        given = as_settings(values)
        return {"space": {"candidates": _count(values)},
                "slots": {pool: given[pool] for pool in ("simulate", "learn")},
                "acquisition": {"name": given["acquisition"], "weight": given["weight"]}, "values": given,
                **{key: given[key] for key in ("budget", "threshold", "maximize", "engine")}}

    def do_set(self, values: Mapping) -> None:
        """Type values into fields; a margin is no weight, so with another acquisition comes its usual one."""
        if (application := values.get("application")) in APPLICATIONS and application != self.values["application"]:
            values = suiting(application) | dict(values)
        new, old = values.get("acquisition"), self._typed.get("acquisition", "ucb")
        if new is not None and (new == IMPROVEMENT) != (old == IMPROVEMENT):
            values = {"weight": 0.0 if new == IMPROVEMENT else 1.0, **values}
        super().do_set(values)

    def begin(self, settings: Mapping) -> dict:
        return steering_picture.begin(settings, _about(settings), self._arm(settings))

    def draw(self, records: list[dict], picture: dict) -> dict:
        return steering_picture.draw(records, picture)

    def extra(self) -> dict:
        choosing = not self._fixed() and self._run is None
        return {"uploads": choosing and self._form.values["application"] == "ionization_potential"}

    def build(self, values: Mapping) -> Any:
        from scilab.steering import Campaign

        return Campaign.from_settings(as_settings(values))

    def rebuild(self, settings: Mapping) -> Any:
        from scilab.steering import Campaign

        return Campaign.from_settings(settings)

    def values_of(self, settings: Mapping) -> dict | None:
        return values_of(settings)

    def script(self, values: Mapping) -> str:
        return "" if self._form.errors else script(values)

    def estimate(self, values: Mapping) -> Estimate:
        if self._form.errors:
            return Estimate()
        molecules = values["application"] == "ionization_potential"
        size, budget = values["space"] if molecules else values["application"], values["budget"]
        count = _count(values)
        at_once = min(values["workers"], CORES, values["simulate"])
        each = CPU_S.get(size, 0.15) * {"multifidelity": 1 + 0.1 * values["ratio"]}.get(values["policy"], 1)
        trainings = {"every": max(0, budget - values["initial"]) / values["retrain_every"] + 1, "once": 1, "never": 0,
                     "drift": budget / 50}[values["retrain"]]
        learning = trainings * (0.3 + 4e-3 * min(budget, 500) + 3e-5 * count) if count else 0
        start = SPACE_S.get(size, 1.0) + (3 if values["engine"] == "processes" else 0.5)
        memory = 250e6 + 14e3 * (count or 0) + (250e6 * values["workers"] if values["engine"] == "processes" else 0)
        note = f"{'About ' if size == '7' else ''}{count:,} candidates." if count else ""
        note += " Larger ones take longer." if size in ("file", "uploaded") else ""
        return Estimate(start + (budget * each + learning) / at_once, memory, int(budget + trainings * 2), note)

    def saves(self) -> list[dict]:
        why = "A row for each simulation: SMILES, value, and where it comes from, as CSV"
        return [{"label": "Table", "why": why, "action": "download", "args": {"what": "table"}}, *super().saves()]

    def do_download(self, what: str) -> dict:
        """Send the page the ``table`` of the run shown."""
        if what != "table":
            raise ValueError(f"There is a table to download; given {what!r}.")
        if self._run is None:
            raise ValueError("No run is shown whose table could be saved.")
        name, data = f"{file_stem(self._run)}.csv", self.table()
        self._send_file(what, name, data)
        return {"name": name, "bytes": len(data)}

    def table(self) -> bytes:
        """The run shown as CSV, a row for each simulation. ValueError while there is none."""
        settings = self._run.settings
        return results.campaign_csv(self._run.records(), settings, _about(settings)["unit"], self._run.id)

    def do_upload(self, data: Any, name: str = "the file") -> dict:
        """Take molecules from a file of the person's own machine."""
        from scilab.steering.molecules import read_smiles

        try:
            found = read_smiles(bytes(data).decode("utf-8-sig").splitlines())
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        self.do_set({"space": "uploaded", "candidates": found})
        return {"molecules": len(found)}

    def do_depict(self, candidates: list[str]) -> dict:
        """Structures as SVG, {"drawings": {candidate: text}}, "" for what is no molecule."""
        return {"drawings": {each: molecule.drawn(each) for each in candidates[:100]}}

    def _arm(self, settings: Mapping) -> dict | None:
        """An unguided search of the same space in the journal, to hold others against: the one that went furthest."""
        space, best = settings["space"].get("digest"), None
        if space is None or self._journal_error:
            return None
        for run in self.journal.runs()[:LOOKED]:
            if run.kind != self.kind or run.done < max(ARM, best.done if best else 0) or run.status in ACTIVE:
                continue
            theirs, shown = run.settings, self._run is not None and run.id == self._run.id
            same = theirs["space"].get("digest") == space and _computes(theirs) == _computes(settings)
            if same and theirs["retrain"].get("untrained") and not shown:
                best = run
        if best is None:
            return None
        values = [record.get("value") if record.get("flag") is None else None for record in best.records()
                  if record["kind"] in ("Evaluated", "Failed") and record["counts"]]
        return {"name": best.name, "values": values}


def _about(settings: Mapping) -> dict:
    """Words for what is searched."""
    from scilab.steering.applications import APPLICATIONS

    name = (settings.get("values") or {}).get("application", "ionization_potential" if settings.get("values") else "")
    if name not in APPLICATIONS:
        return ABOUT
    about = APPLICATIONS[name]
    return {"quantity": about.quantity, "unit": about.unit, "drawn": about.drawn}


def _computes(settings: Mapping) -> str:
    """The simulator that counts, as `settings` tell it; its usual method goes without saying."""
    return list(settings["simulator"].values())[-1].replace("(method='GFN2')", "")


def _count(values: Mapping) -> int | None:
    """How many candidates there are, as far as is known before they are made."""
    space = values["space"]
    if values["application"] != "ionization_potential":
        return values["clusters"] if values["application"] == "water_potential" else None
    if space == "file":
        try:
            return molecules_in(values["file"])
        except (OSError, ValueError):
            return None
    return len(values["candidates"] or ()) if space == "uploaded" else MOLECULES[int(space)]
