"""`FederationWidget`: set up a federation, watch it train on its tree, pause, stop and resume it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import federation_picture
from .estimate import Estimate
from .fields import Choice, Number, Text
from .panel import HERE, Panel

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DATA = {  # rows to train on, (channels, height, width)
    "digits": (1437, (1, 8, 8)),
    "fashion_mnist": (60_000, (1, 28, 28)),
    "cifar10": (50_000, (3, 32, 32)),
}
STEP_S = {  # of one gradient step on one 2.9 GHz core: fixed, and per sample of 8 × 8 pixels (measured; an estimate)
    "mlp": (1.3e-4, 1e-6), "cnn": (4e-4, 1e-5), "resnet8": (1.2e-3, 6.4e-5), "resnet20": (4e-3, 1.3e-4),
    "resnet32": (6e-3, 2.2e-4), "resnet18": (2e-2, 1.1e-3),
}  # fmt: skip
WORKER_BYTES = {"threads": 8e6, "processes": 170e6}  # a process holds its own torch


def numbers(text: str) -> list[int]:
    """ "4, 8" → [4, 8]. Raises ValueError with a sentence for the person."""
    words = text.replace(",", " ").split()
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"Whole numbers such as 8 or 4, 4, one a tier, or nothing; given “{text}”.")
    return [int(word) for word in words]


def folder(text: str) -> None:
    """A folder with a folder of images for each class, or a zip file of one."""
    if text and not Path(text).expanduser().exists():
        raise ValueError(f"There is nothing at “{text}”. Give a folder of class folders, or a zip file of one.")


class FederationWidget(Panel):
    """A federation live: ``FederationWidget()`` sets everything by hand, ``FederationWidget(run)`` shows and steers a
    run, ``FederationWidget(federation)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "Federation"
    kind = "federation"
    unit = "rounds"
    module = HERE / "federation.js"
    fields = (
        Choice(name="dataset", label="Data", group="Data and model", default="digits",
               options=(("digits", "Digits"), ("fashion_mnist", "Fashion-MNIST"), ("cifar10", "CIFAR-10"),
                        ("own", "Own images")),
               help="What the devices learn from. Digits (8×8 pixels) are part of scilab; Fashion-MNIST and CIFAR-10 "
                    "are downloaded once, at the first launch."),
        Choice(name="model", label="Model", group="Data and model", default="mlp",
               options=(("mlp", "MLP"), ("cnn", "Small CNN"), ("resnet8", "ResNet-8"), ("resnet20", "ResNet-20"),
                        ("resnet32", "ResNet-32"), ("resnet18", "ResNet-18")),
               help="The network every device trains a copy of."),
        Text(name="folder", label="Folder", group="Data and model", default="", placeholder="path",
             help="One folder for each class, on the machine of the kernel.", check=folder,
             unless=lambda values: None if values["dataset"] == "own" else "For own images only."),
        Number(name="devices", label="Devices", group="Tree", default=64, minimum=1, maximum=100_000, integer=True,
               help="How many devices hold a share of the data; they are the leaves of the tree."),
        Text(name="fanouts", label="Aggregators", group="Tree", default="8", placeholder="none",
             help="Below the coordinator, tier by tier: 8 is one tier of eight; 4, 4 is four, with four more below "
                  "each; empty is none.", check=numbers),
        Choice(name="partition", label="Shares", group="Tree", default="dirichlet",
               options=(("dirichlet", "Uneven"), ("iid", "Even")),
               help="How the data is dealt: evenly at random (IID), or each class by shares drawn from a Dirichlet "
                    "distribution, so that devices differ in what and how much they hold."),
        Number(name="alpha", label="Alpha", group="Tree", default=0.5, minimum=0.001, maximum=1000,
               help="Of the Dirichlet distribution: 0.1 is very uneven, 100 nearly even.",
               unless=lambda values: None if values["partition"] == "dirichlet" else "For uneven shares only."),
        Number(name="rounds", label="Rounds", group="Training", default=40, minimum=1, maximum=100_000, integer=True,
               help="How often the devices' models are averaged."),
        Number(name="local_epochs", label="Local epochs", group="Training", default=3, minimum=1, maximum=1000,
               integer=True, help="Passes of each device over its own data in a round."),
        Number(name="batch_size", label="Batch size", group="Training", default=16, minimum=1, maximum=100_000,
               integer=True, unit="rows", help="Samples in one gradient step."),
        Number(name="lr", label="Learning rate", group="Training", default=0.1, minimum=1e-6, maximum=100,
               help="Of the devices' gradient descent."),
        Choice(name="engine", label="Engine", group="Machine", default="threads",
               options=(("threads", "Threads"), ("processes", "Processes")),
               help="Where devices train: threads of this kernel start at once; processes of this machine take two "
                    "seconds to start and use cores better."),
        Number(name="workers", label="Workers", group="Machine", default=min(2, CORES), minimum=1, maximum=256,
               integer=True, help=f"Threads or processes at work at a time; this machine has {CORES} cores."),
        Number(name="seed", label="Seed", group="Machine", default=0, minimum=0, maximum=2**31, integer=True,
               help="The same seed gives the same model, to the bit, on any tree and engine."),
    )  # fmt: skip

    def check(self, values: Mapping) -> Mapping[str, str]:
        if values["dataset"] == "own" and not values["folder"]:
            return {"folder": "Give the folder of your images."}
        rows = DATA.get(values["dataset"], (math.inf,))[0]
        if values["devices"] > rows:
            return {"devices": f"At most {rows:,}: each device needs a sample of its own."}
        try:
            self._topology(values)
        except ValueError as error:
            return {"fanouts": str(error)}
        return {}

    def plan(self, values: Mapping) -> dict:
        wrong = self._form.errors
        return {"topology": {"nodes": []} if wrong else self._topology(values).to_dict()}

    def begin(self, settings: Mapping) -> dict:
        return federation_picture.begin(settings["topology"]["nodes"])

    def draw(self, records: list[dict], picture: dict) -> dict:
        return federation_picture.draw(records, picture)

    def build(self, values: Mapping) -> Any:
        from scilab.federated import Federation

        return Federation.from_settings(as_settings(values))

    def rebuild(self, settings: Mapping) -> Any:
        from scilab.federated import Federation

        return Federation.from_settings(settings)

    def values_of(self, settings: Mapping) -> dict | None:
        values = settings.get("values")
        if not values or "topology" in values or values["engine"].partition(":")[0] not in WORKER_BYTES:
            return None
        name, _, workers = values["engine"].partition(":")
        own = {} if values["dataset"] in DATA else {"dataset": "own", "folder": values["dataset"]}
        fanouts = values["fanouts"] if isinstance(values["fanouts"], str) else ", ".join(map(str, values["fanouts"]))
        return {**values, **own, "fanouts": fanouts, "engine": name, "workers": int(workers or CORES)}

    def estimate(self, values: Mapping) -> Estimate:
        rows, shape = DATA.get(values["dataset"], (None, None))
        devices, rounds, workers = values["devices"], values["rounds"], values["workers"]
        if rows is None or self._form.errors:
            return Estimate(note="The time depends on your images.") if rows is None else Estimate()
        share = rows / devices
        steps = devices * math.ceil(share / values["batch_size"]) * values["local_epochs"]
        fixed, sample = STEP_S[values["model"]]
        work = rows * values["local_epochs"] * sample * shape[1] * shape[2] / 64
        at_once = min(workers, CORES)
        python = steps * fixed / (1 if values["engine"] == "threads" else at_once)  # threads share one interpreter
        start = 2 if values["engine"] == "processes" else 0.2
        seconds = start + rounds * (python + work / at_once + 0.02 + devices * 3e-4)
        model, data = 4 * _parameters(values["model"], shape), 8 * rows * math.prod(shape)
        memory = data + 2 * devices * model + workers * (WORKER_BYTES[values["engine"]] + 4 * model)
        tasks = rounds * (len(self._topology(values).nodes) + 1)  # one for each node, and the test of the new model
        return Estimate(seconds, memory, tasks, "Small devices share tasks, so there may be fewer.")

    def script(self, values: Mapping) -> str:
        given = as_settings(values)
        dealt = f"dirichlet({given['alpha']:g})" if given["partition"] == "dirichlet" else "iid()"
        return f"""\
from scilab.datasets import load
from scilab.federated import FedAvg, Federation, Topology, dirichlet, iid
from scilab.models import build
from scilab.runs import Run

data = load({given["dataset"]!r})
model = build({given["model"]!r}, data.shape, len(data.classes), seed={given["seed"]})
federation = Federation(
    model, data.train, Topology.tree({given["devices"]}, fanouts={numbers(given["fanouts"])}),
    FedAvg(local_epochs={given["local_epochs"]}, batch_size={given["batch_size"]}, lr={given["lr"]:g}),
    test=data.test, partition={dealt}, rounds={given["rounds"]}, engine={given["engine"]!r}, seed={given["seed"]},
)
run = Run(federation).start()  # in a script: for record in federation: …
run.wait()
"""

    def _topology(self, values: Mapping) -> Any:
        from scilab.federated import Topology

        return Topology.tree(values["devices"], numbers(values["fanouts"]))


def as_settings(values: Mapping) -> dict:
    """The fields' values as `Federation.from_settings` takes them."""
    given = {name: value for name, value in values.items() if name not in ("folder", "workers")}
    return given | {"dataset": values["folder"] if values["dataset"] == "own" else values["dataset"],
                    "engine": f"{values['engine']}:{values['workers']}"}


@lru_cache
def _parameters(model: str, shape: tuple[int, ...]) -> int:
    """How many numbers the model has."""
    from scilab.models import build

    return sum(tensor.numel() for tensor in build(model, shape, 10).parameters())
