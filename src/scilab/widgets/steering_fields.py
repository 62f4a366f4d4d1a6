"""What a person sets for a campaign: the fields, what they mean as settings, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from .federation_fields import CORES, is_
from .fields import Choice, Field, Number, Text

MOLECULES = {4: 278, 5: 1617, 6: 11_703, 7: 85_000}
"""How many there are of up to so many heavy atoms; of 7 about."""
ENGINES = ("threads", "processes")
UNTRAINED = "Without a model there is nothing to choose by."
METALS = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
WEIGHTLESS = ("greedy", "uncertainty", "random")
SUITING = ("threshold", "goal", "budget", "initial", "surrogate", "acquisition", "policy", "batch")
"""Fields that a new application sets to what suits it."""
ALONE = ("space", "goal", "workers")
"""Fields that are not settings of a campaign by themselves."""


def smiles_file(text: str) -> None:
    """A file of molecules."""
    if text and not Path(text).expanduser().is_file():
        raise ValueError(f"There is no file at “{text}”. Give the path of a file with one SMILES a line.")
    if text:
        molecules_in(text)


def molecules_in(text: str) -> int:
    """How many molecules a file holds. ValueError names the lines that are wrong."""
    path = Path(text).expanduser()
    return _counted(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _counted(path: str, _changed: int) -> int:
    from scilab.steering.molecules import read_smiles

    return len(read_smiles(path))


def elements(text: str) -> None:
    """Elements that EMT knows."""
    words = text.replace(",", " ").split()
    if strange := [word for word in words if word not in METALS]:
        raise ValueError(f"EMT knows no “{strange[0]}”; it knows {', '.join(METALS)}.")
    if len(set(words)) < 2:
        raise ValueError("An alloy has two elements at least, such as Cu, Au.")


def suiting(application: str) -> dict:
    """What suits an application, by field."""
    if application == FIELDS[0].default:
        return {field.name: field.default for field in FIELDS if field.name in SUITING}
    from scilab.steering.presets import preset

    return {name: value for name, value in values_of({"values": preset(application)}).items() if name in SUITING}


def cache_file(text: str) -> None:
    """A place for a file."""
    if text and not Path(text).expanduser().parent.is_dir():
        raise ValueError(f"There is no folder {Path(text).expanduser().parent}; the file would lie in it.")


@dataclass(frozen=True, kw_only=True)
class Candidates(Field):
    """Molecules that were uploaded: a list of SMILES, or None."""

    control: ClassVar[str] = ""

    def parse(self, given: Any) -> tuple[str, ...] | None:
        return None if given is None else tuple(given)


def _learns(values: Mapping) -> bool:
    return values["retrain"] != "never"


def _needs_model(values: Mapping) -> str | None:
    return None if _learns(values) else UNTRAINED


MINE = is_("application", "ionization_potential")

FIELDS = (
    Choice(name="application", label="Search for", group="Search", default="ionization_potential",
           options=(("ionization_potential", "Molecules"), ("alloy_stability", "Alloys"), ("water_potential", "Water")),
           help="Molecules of high ionization potential (by tight binding), ordered alloys of low formation energy (by "
                "EMT), or distorted clusters of water from which a potential of energies and forces is learned. "
                "Choosing one fills in what suits it."),
    Choice(name="space", label="Molecules", group="Search", default="5", only=MINE,
           options=(*((str(atoms), f"≤ {atoms} atoms") for atoms in MOLECULES), ("file", "from a file"),
                    ("uploaded", "uploaded")),
           help="Every molecule of carbon, nitrogen, oxygen and fluorine with up to so many heavy atoms, or your own."),
    Text(name="file", label="SMILES file", group="Search", default="", placeholder="path", check=smiles_file,
         help="One SMILES a line, on the machine of the kernel. Open SMILES… takes one from your own machine.",
         only=lambda values: MINE(values) and values["space"] == "file"),
    Candidates(name="candidates", label="Uploaded", group="Search", default=None, help="Molecules that were uploaded.",
               only=lambda values: MINE(values) and values["space"] == "uploaded"),
    Text(name="elements", label="Elements", group="Search", default="Cu, Pd, Pt, Au", check=elements,
         help="Which are combined: two or more of those that EMT knows.", only=is_("application", "alloy_stability")),
    Number(name="molecules", label="Molecules each", group="Search", default=3, minimum=1, maximum=20, integer=True,
           help="Of water in a cluster.", only=is_("application", "water_potential")),
    Number(name="clusters", label="Clusters", group="Search", default=200, minimum=1, maximum=100_000, integer=True,
           help="Distorted clusters to choose from.", only=is_("application", "water_potential")),
    Choice(name="method", label="Computed by", group="Search", default="GFN2", only=MINE,
           options=(("GFN2", "GFN2-xTB"), ("IPEA1", "IPEA1-xTB")),
           help="Vertical ionization potential: force field, relaxation, then the energies of molecule and cation. "
                "IPEA1 was fitted to ionization potentials. As computed: some 4.6 eV (GFN2) above experiment."),
    Choice(name="goal", label="Find the", group="Search", default="highest", options=("highest", "lowest"),
           help="Which end of the values is searched for."),
    Number(name="threshold", label="Threshold", group="Search", default=16.5, minimum=-1e6, maximum=1e6,
           optional=True, help="A value beyond it is a hit, in eV; empty counts none. It can be moved while the "
                               "search runs."),
    Number(name="budget", label="Budget", group="Search", default=100, minimum=1, maximum=1_000_000, integer=True,
           unit="simulations", help="How many molecules are computed in all, the random start among them."),
    Number(name="initial", label="Random start", group="Search", default=20, minimum=1, maximum=1_000_000,
           integer=True, unit="simulations", help="How many are drawn at random before the first model.",
           unless=lambda values: None if _learns(values) else "Without a model all are."),
    Number(name="seed", label="Seed", group="Search", default=0, minimum=0, maximum=2**31, integer=True,
           help="Of the random start, the models and the acquisition."),
    Choice(name="retrain", label="Train", group="Model", default="every",
           options=(("every", "repeatedly"), ("drift", "when surprised"), ("once", "once"),
                    ("never", "never")),
           help="When a model is trained: after every so many results, when results lie far from what it said of "
                "them, only on the random start, or never, which is a random search."),
    Number(name="retrain_every", label="After every", group="Model", default=20, minimum=1, maximum=1_000_000,
           integer=True, unit="results", help="New results until the next model.", only=is_("retrain", "every")),
    Number(name="drift", label="Surprise", group="Model", default=2.0, minimum=0.1, maximum=100,
           help="Train when the error over its expected size, root mean square, exceeds this; calibrated is 1.",
           only=is_("retrain", "drift")),
    Number(name="window", label="Over the last", group="Model", default=10, minimum=1, maximum=10_000, integer=True,
           unit="results", help="Results that are looked at for surprise.", only=is_("retrain", "drift")),
    Choice(name="surrogate", label="Surrogate", group="Model", default="forest",
           options=(("forest", "Trees"), ("ensemble", "Networks"), ("potential", "Potentials")), unless=_needs_model,
           help="What predicts, with an uncertainty: extremely randomised trees, an ensemble of small neural networks, "
                "or, for water, an ensemble of potentials of energies and forces."),
    Number(name="trees", label="Trees", group="Model", default=100, minimum=1, maximum=10_000, integer=True,
           help="More trees give a smoother uncertainty and take longer.", unless=_needs_model,
           only=is_("surrogate", "forest")),
    Number(name="members", label="Networks", group="Model", default=8, minimum=2, maximum=1000, integer=True,
           help="Members of the ensemble.", unless=_needs_model, only=is_("surrogate", "ensemble", "potential")),
    Choice(name="acquisition", label="Acquisition", group="Model", default="ucb",
           options=(("ucb", "Upper bound"), ("greedy", "Greedy"), ("expected improvement", "Improvement"),
                    ("thompson", "Thompson"), ("uncertainty", "Uncertainty"), ("random", "Random")),
           unless=_needs_model,
           help="What a prediction is worth: mean + weight × uncertainty, the mean, the expected improvement on the "
                "best, a draw from the prediction, the uncertainty alone, or nothing. It can be changed while the "
                "search runs."),
    Number(name="weight", label="Weight", group="Model", default=1.0, minimum=0, maximum=1000,
           help="Of the uncertainty (upper bound, Thompson), or the margin in eV (improvement).",
           unless=lambda values: "Takes no weight." if values["acquisition"] in WEIGHTLESS
           else _needs_model(values)),
    Choice(name="policy", label="Policy", group="Workers", default="streaming",
           options=(("streaming", "Streaming"), ("batch", "Batch"), ("interleaved", "Interleaved"),
                    ("multifidelity", "Multi-fidelity")),
           help="Streaming: no worker waits. Batch: so many, then a model, then the next. Interleaved: simulation and "
                "learning take turns. Multi-fidelity: many screened cheaply, the best of them computed in full."),
    Number(name="batch", label="Batch", group="Workers", default=20, minimum=1, maximum=1_000_000, integer=True,
           unit="simulations", help="Simulations between two models.", only=is_("policy", "batch")),
    Number(name="ratio", label="Screened for each", group="Workers", default=4, minimum=1, maximum=1000, integer=True,
           help="How many are screened, at the force field's geometry, for each computed in full.",
           only=is_("policy", "multifidelity")),
    Choice(name="engine", label="Engine", group="Workers", default="threads",
           options=(("threads", "Threads"), ("processes", "Processes")),
           help="Where tasks run: threads of this kernel start at once, processes of this machine take some seconds. "
                "A cluster's engine is given in code."),
    Number(name="workers", label="Workers", group="Workers", default=min(2, CORES), minimum=1, maximum=256,
           integer=True, help=f"Tasks at a time; this machine has {CORES} cores."),
    Number(name="simulate", label="Slots: simulate", group="Workers", default=3, minimum=1, maximum=10_000,
           integer=True, help="Simulations under way at once; one more than workers keeps every worker busy. Slots can "
                              "be moved while the search runs."),
    Number(name="learn", label="Slots: learn", group="Workers", default=1, minimum=0, maximum=1000, integer=True,
           help="Learning tasks under way at once."),
    Choice(name="learn_engine", label="Learning", group="Workers", default="here",
           options=(("here", "same workers"), ("threads", "own threads"),
                    ("processes", "own processes")), unless=_needs_model,
           help="Two sites: models are trained apart from the simulations, and travel by reference."),
    Number(name="timeout_s", label="Time limit", group="Workers", default=60.0, minimum=0.01, maximum=1e7, unit="s",
           optional=True, help="A simulation that takes longer has failed; empty is no limit."),
    Number(name="retries", label="Retries", group="Workers", default=0, minimum=0, maximum=100, integer=True,
           help="How often a simulation that raised, or whose worker died, is tried again."),
    Text(name="cache", label="Results file", group="Workers", default="", placeholder="none", check=cache_file,
         help="A file in which results are kept: what it knows is not computed again, in any campaign."),
)


def as_settings(values: Mapping) -> dict:
    """The fields' values as `Campaign.from_settings` takes them."""
    given = {name: value for name, value in values.items() if name not in ALONE}
    space = values["space"]
    given["heavy_atoms"] = int(space) if space.isdigit() else 5
    given["candidates"] = list(values["candidates"] or ()) if space == "uploaded" else None
    given["maximize"] = values["goal"] == "highest"
    given["engine"] = f"{values['engine']}:{values['workers']}"
    given["learn_engine"] = "" if values["learn_engine"] == "here" else f"{values['learn_engine']}:1"
    for name in ("file", "cache"):
        given[name] = str(Path(given[name]).expanduser()) if given[name] else ""
    return given


def values_of(settings: Mapping) -> dict | None:
    """The fields' values for a campaign's settings; None where no fields can say them."""
    given = settings.get("values")
    if not given:
        return None
    engine, _, workers = given["engine"].partition(":")
    if engine not in ENGINES:
        return None
    known = {field.name for field in FIELDS}
    values = {name: value for name, value in given.items() if name in known}
    space = str(given["heavy_atoms"])
    if given["file"]:
        space = "file"
    elif given["candidates"] is not None:
        space = "uploaded"
    learn = given["learn_engine"].partition(":")[0] or "here"
    return {**values, "space": space, "goal": "highest" if given["maximize"] else "lowest", "engine": engine,
            "learn_engine": learn, **({"workers": int(workers)} if workers else {})}
