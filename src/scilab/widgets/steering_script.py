"""The Python that does what the fields say, without the widget."""

from __future__ import annotations

from collections.abc import Mapping

from .steering_fields import WEIGHTLESS, as_settings


def script(values: Mapping) -> str:
    """Runs as it stands; with uploaded molecules, beside a file of them."""
    given = as_settings(values)
    if values["application"] != "ionization_potential":
        return _plain(given)
    names, more = {"Campaign"}, []

    def made(name: str, *arguments: object) -> str:
        names.add(name)
        return f"{name}({', '.join(map(str, arguments))})"

    if values["space"].isdigit():
        reader, space = "enumerate_molecules", f"enumerate_molecules({given['heavy_atoms']})"
    else:
        reader, space = "read_smiles", f"read_smiles({given['file'] or 'uploaded.smi'!r})"
    full = "ionization_potential"
    if given["method"] != "GFN2":
        full = f"partial(ionization_potential, method={given['method']!r})"
    simulator, imported = full, [reader, "ionization_potential"]
    if given["policy"] == "multifidelity":
        cheap = full.replace("ionization", "quick_ionization", 1)
        simulator = f"{{\n        'cheap': {cheap},\n        'full': {full},\n    }}"
        imported.append("quick_ionization_potential")
    if given["retrain"] == "never":
        retrain = made("never", "untrained=True")
    else:
        surrogate = {"forest": ("Forest", f"trees={given['trees']}"),
                     "ensemble": ("Ensemble", f"members={given['members']}")}[given["surrogate"]]
        weight = () if given["acquisition"] in WEIGHTLESS else (f"{given['weight']:g}",)
        acquisition = made(given["acquisition"].replace(" ", "_"), *weight)
        more.append(f"surrogate={made(*surrogate)}, acquisition={acquisition},")
        drift = ("on_drift", f"{given['drift']:g}", given["window"])
        every = ("every", given["retrain_every"])
        retrain = made(*{"every": every, "once": ("never",), "drift": drift}[given["retrain"]])
    policy = {"batch": ("Batch", given["batch"]), "interleaved": ("Interleaved",),
              "multifidelity": ("MultiFidelity", given["ratio"])}.get(given["policy"])
    if policy:
        more.append(f"policy={made(*policy)},")
    engine = repr(given["engine"])
    if given["learn_engine"]:
        engine = repr({"simulate": given["engine"], "learn": given["learn_engine"]})
    said = [f"{name}={given[name]!r}" for name, usual in (("maximize", True), ("retries", 0)) if given[name] != usual]
    if given["timeout_s"] is not None:
        said.append(f"timeout_s={given['timeout_s']:g}")
    if given["cache"]:
        said.append(f"cache={made('ResultCache', repr(given['cache']))}")
    if said:
        more.append(", ".join(said) + ",")
    partial = "from functools import partial\n\n" if "partial(" in simulator else ""
    rest = "".join(f"\n    {line}" for line in more)
    return f"""\
{partial}from scilab.runs import Run
from scilab.steering import {", ".join(sorted(names, key=str.lower))}
from scilab.steering.molecules import {", ".join(sorted(imported))}

campaign = Campaign(
    {space}, {simulator},
    budget={given["budget"]}, initial={given["initial"]}, threshold={given["threshold"]!r}, retrain={retrain},{rest}
    slots={{"simulate": {given["simulate"]}, "learn": {given["learn"]}}}, engine={engine}, seed={given["seed"]},
)
run = Run(campaign).start()  # in a script: for record in campaign: …
run.wait()
"""


def _plain(given: Mapping) -> str:
    from scilab.steering.presets import preset

    usual = preset(given["application"])
    said = {name: value for name, value in given.items() if name == "application" or value != usual[name]}
    lines = "\n".join(f"    {name!r}: {value!r}," for name, value in said.items())
    return f"""\
from scilab.runs import Run
from scilab.steering import Campaign

campaign = Campaign.from_settings({{
{lines}
}})
run = Run(campaign).start()  # in a script: for record in campaign: …
run.wait()
"""
