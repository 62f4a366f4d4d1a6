"""`FederationWidget`: set up a federation, draw its tree, watch it train, pause, stop and resume it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from . import federation_picture, results, shares
from .browser import file_stem
from .estimate import Estimate
from .federation_fields import CORES, FIELDS, as_settings, policies_of, topology_of, values_of
from .federation_script import script
from .panel import HERE, Panel
from .tree_editor import TreeEditing

DATA = {  # rows to train on, (channels, height, width)
    "digits": (1437, (1, 8, 8)),
    "fashion_mnist": (60_000, (1, 28, 28)),
    "cifar10": (50_000, (3, 32, 32)),
}
STEP_S = {  # of one gradient step on one 2.9 GHz core: fixed, and per sample of 8 × 8 pixels (measured; an estimate)
    "mlp": (1.3e-4, 1e-6), "cnn": (4e-4, 1e-5), "resnet8": (1.2e-3, 6.4e-5), "resnet20": (4e-3, 1.3e-4),
    "resnet32": (6e-3, 2.2e-4), "resnet18": (2e-2, 1.1e-3),
}  # fmt: skip
WORKER_BYTES = {"threads": 8e6, "processes": 170e6, "virtual": 8e6}  # a process holds its own torch
TREE_FIELD = {"balanced": "height", "drawn": "topology", "file": "tree_file"}  # else "devices": who makes it large
REFUSALS = (  # words of what a federation refuses at the launch, and the field beside which that is said
    ("quorum", "policies"), ("polic", "policies"), ("strategy", "strategy"), ("has no data", "partition"),
    ("the model, the loss", "model"), ("cycle", "topology"),
)  # fmt: skip


class FederationWidget(TreeEditing, Panel):
    """A federation live: ``FederationWidget()`` sets everything by hand, ``FederationWidget(run)`` shows and steers a
    run, ``FederationWidget(federation)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "Federation"
    kind = "federation"
    unit = "rounds"
    module = HERE / "federation.js"
    fields = FIELDS
    topology_of = staticmethod(topology_of)
    unfold = staticmethod(federation_picture.unfolded)
    _late: ClassVar[tuple] = ()  # values that a launch refused, and why

    def check(self, values: Mapping) -> Mapping[str, str]:
        shape, rows = values["shape"], DATA.get(values["dataset"], (math.inf,))[0]
        if values["dataset"] == "own" and not values["folder"]:
            return {"folder": "Give the folder of your images."}
        try:
            devices = len(topology_of(values).leaves)
        except (ValueError, OSError) as error:
            return {TREE_FIELD.get(shape, "fanouts" if shape == "tree" else "devices"): str(error)}
        if wrong := _policies_wrong(values):
            return wrong
        needed = devices * values["per_device"] if values["partition"] == "shards" else devices
        if values["partition"] != "resample" and needed > rows:
            if devices <= rows:
                return {"per_device": f"At most {rows // devices:,} for each of {devices:,} devices of {rows:,} rows."}
            return {TREE_FIELD.get(shape, "devices"): f"At most {rows:,}: each device needs a sample of its own."}
        return dict(self._late[1]) if self._late and self._late[0] == values else {}

    def do_set(self, values: Mapping) -> None:
        """Type values into fields; who chooses a drawn tree and has none takes the one that is there."""
        if values.get("shape") == "drawn" and self._typed.get("topology") is None:
            values = {**values, "topology": self.draft}
        if {"shape", "devices", "fanouts", "branching", "height", "tree_file"} & values.keys():
            self._select({})  # it was of another tree
        super().do_set(values)

    def plan(self, values: Mapping) -> dict:
        try:
            tree = self.draft
        except (ValueError, OSError):
            return {"topology": {"nodes": []}}
        profiles = {node: one.to_dict() for node, one in tree.profiles.items() if one.to_dict()}
        return {"topology": {"nodes": tree.nodes, "profiles": profiles}, "engine": values["engine"],
                "policies": list(values["policies"])}

    def begin(self, settings: Mapping) -> dict:
        return federation_picture.begin(settings, self._unfolded)

    def draw(self, records: list[dict], picture: dict) -> dict:
        return federation_picture.draw(records, picture)

    def extra(self) -> dict:
        return {**super().extra(), "shares": self._shares()}

    def build(self, values: Mapping) -> Any:
        from scilab.federated import Federation

        try:
            return Federation.from_settings(as_settings(values))
        except ValueError as error:
            place = next((field for word, field in REFUSALS if word in str(error)), None)
            if place is not None:  # beside the control, until something is changed
                self._late = (dict(values), {place: str(error)})
                self._judge()
            raise

    def rebuild(self, settings: Mapping) -> Any:
        from scilab.federated import Federation

        return Federation.from_settings(settings)

    def values_of(self, settings: Mapping) -> dict | None:
        return values_of(settings)

    def script(self, values: Mapping) -> str:
        return "" if self._form.errors else script(values)

    def estimate(self, values: Mapping) -> Estimate:
        rows, shape = DATA.get(values["dataset"], (None, None))
        if rows is None or self._form.errors:
            return Estimate(note="The time depends on your images.") if rows is None else Estimate()
        tree, rounds = topology_of(values), values["rounds"]
        devices, simulated = len(tree.leaves), values["engine"] == "virtual"
        workers = 1 if simulated else values["workers"]
        held = values["rows"] if values["partition"] == "resample" else rows / devices
        whole = values["strategy"] == "fedsgd"
        epochs, batch = (1, held) if whole else (values["local_epochs"], values["batch_size"])
        asked = devices * values["fraction"]
        fixed, sample = STEP_S[values["model"]]
        work = asked * held * epochs * sample * shape[1] * shape[2] / 64
        at_once = min(workers, CORES)
        steps = asked * math.ceil(held / batch) * epochs
        python = steps * fixed / (at_once if values["engine"] == "processes" else 1)  # threads share one interpreter
        start = 2 if values["engine"] == "processes" else 0.2
        seconds = start + rounds * (python + work / at_once + 0.02 + asked * 3e-4)
        model, data = 4 * _parameters(values["model"], shape), 8 * rows * math.prod(shape)
        memory = data + 2 * devices * model + workers * (WORKER_BYTES[values["engine"]] + 4 * model)
        tasks = rounds * (len(tree.nodes) + 1)  # one for each node, and the test of the new model
        note = "Small devices share tasks, so there may be fewer."
        return Estimate(seconds, memory, tasks, note + (" Simulated time is another matter." if simulated else ""))

    def saves(self) -> list[dict]:
        whys = {"model": "The newest model's state_dict, for torch.load", "history": "A row for each round, as CSV"}
        return [{"label": what.capitalize(), "why": why, "action": "download", "args": {"what": what}}
                for what, why in whys.items()] + super().saves()

    def do_download(self, what: str) -> dict:
        """Send the page a file: the ``model``, the ``history`` as CSV, or the ``tree`` as YAML."""
        if what == "tree":
            data, name = results.tree_yaml(self._settings["topology"]), "tree.yaml"
        elif what not in ("model", "history"):
            raise ValueError(f"There is a model, a history and a tree to download; given {what!r}.")
        elif self._run is None:
            raise ValueError("No run is shown whose results could be saved.")
        elif what == "model":
            data, name = results.model_file(self.journal, self._run.id), f"{file_stem(self._run)}.pt"
        else:
            data = results.history_csv(self._run.records(), "RoundFinished")
            name = f"{file_stem(self._run)}.csv"
        self._send_file(what, name, data)
        return {"name": name, "bytes": len(data)}

    def _shares(self) -> dict:
        """How the data would be dealt, or was for the run shown."""
        from scilab.federated.presets import DEFAULTS, partition_of

        values = self._settings.get("values") if self._run is not None else None
        if values is None and (self._run is not None or self._fixed() or self._form.errors):
            return {}
        given = {**DEFAULTS, **(values or as_settings(self._form.values))}
        devices = self._drawn["gantt"]["devices"]
        try:
            return shares.shares(given["dataset"], partition_of(given), devices, given["seed"]) if devices else {}
        except ValueError as error:
            return {"note": str(error)}


def _policies_wrong(values: Mapping) -> dict[str, str]:
    """What is wrong with the policies of the tiers, if something is."""
    from scilab.federated.policies import as_policies

    try:
        topology = topology_of(values)
        policies = as_policies(policies_of(values, topology), topology)
    except ValueError as error:
        return {"policies": str(error)}
    if values["fraction"] < 1 and not all(policy.waits for policy in policies):
        return {"fraction": "Only 1 where a tier is buffered or asynchronous: there is no round to choose devices for."}
    return {}


@lru_cache
def _parameters(model: str, shape: tuple[int, ...]) -> int:
    """How many numbers the model has."""
    from scilab.models import build

    return sum(tensor.numel() for tensor in build(model, shape, 10).parameters())
