"""What a person sets for a federation: the fields, what they mean as settings, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scilab.federated import Topology

from .drawing import Draft, ragged, read_tree
from .fields import Choice, Field, Number, Text
from .policy import PoliciesField

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DATASETS = ("digits", "fashion_mnist", "cifar10")
ENGINES = ("threads", "processes", "virtual")
ALONE = ("folder", "workers", "shape", "branching", "height", "tree_file", "topology", "policies", "slow_percent")
"""Fields that are not settings of a federation by themselves."""


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


def tree_file(text: str) -> None:
    """A YAML file that holds a tree."""
    if text and not Path(text).expanduser().is_file():
        raise ValueError(f"There is no file at “{text}”. Give the path of a YAML file that holds a tree.")
    if text:
        read_tree(Path(text).expanduser().read_text())


@dataclass(frozen=True, kw_only=True)
class TreeField(Field):
    """A drawn tree: a `Draft`, which may lack something yet, or None where the shape makes the tree."""

    control: ClassVar[str] = ""

    def parse(self, given: Any) -> Draft | None:
        return given


def is_(name: str, *wanted: Any):
    """Whether another field has one of these values."""
    return lambda values: values[name] in wanted


FIELDS = (
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
         help="One folder for each class, on the machine of the kernel.", check=folder, only=is_("dataset", "own")),
    Choice(name="shape", label="Shape", group="Tree", default="tree",
           options=(("flat", "Flat"), ("tree", "Tree"), ("balanced", "Balanced"), ("ragged", "Ragged"),
                    ("file", "From a file"), ("drawn", "Drawn")),
           help="A template for the tree, or the one drawn beside. Whatever it is, it can be changed there."),
    Number(name="devices", label="Devices", group="Tree", default=64, minimum=1, maximum=100_000, integer=True,
           help="How many devices hold a share of the data; they are the leaves of the tree.",
           only=is_("shape", "flat", "tree", "ragged")),
    Text(name="fanouts", label="Aggregators", group="Tree", default="8", placeholder="none",
         help="Below the coordinator, tier by tier: 8 is one tier of eight; 4, 4 is four, with four more below "
              "each; empty is none.", check=numbers, only=is_("shape", "tree")),
    Number(name="branching", label="Branching", group="Tree", default=4, minimum=1, maximum=1000, integer=True,
           help="How many children every node above the devices has.", only=is_("shape", "balanced")),
    Number(name="height", label="Height", group="Tree", default=3, minimum=1, maximum=16, integer=True,
           help="How many edges lie between the coordinator and a device; branching to this power is the number of "
                "devices.", only=is_("shape", "balanced")),
    Text(name="tree_file", label="YAML file", group="Tree", default="", placeholder="path", check=tree_file,
         help="A tree as YAML, on the machine of the kernel: {id: {kind: …, children: [ids]}}, or as saved beside. "
              "Open YAML, below the tree, takes one from your own machine.", only=is_("shape", "file")),
    TreeField(name="topology", label="Tree", group="Tree", default=None, help="The tree drawn beside.",
              only=is_("shape", "drawn")),
    PoliciesField(name="policies", label="Policies", group="Tree", default=(),
                  help="How each tier waits for those below it; set in the tree beside."),
    Choice(name="partition", label="Shares", group="Shares of the data", default="dirichlet",
           options=(("dirichlet", "Uneven"), ("iid", "Even"), ("shards", "Few classes"), ("resample", "Resampled")),
           help="How the data is dealt: uneven (each class by shares from a Dirichlet distribution), evenly at random "
                "(IID), a few classes for each device, or rows drawn with replacement, for any number of devices."),
    Number(name="alpha", label="Alpha", group="Shares of the data", default=0.5, minimum=0.001, maximum=1000,
           help="Of the Dirichlet distribution: 0.1 is very uneven, 100 nearly even.",
           only=is_("partition", "dirichlet")),
    Number(name="per_device", label="Shards each", group="Shares of the data", default=2, minimum=1, maximum=100,
           integer=True, help="Rows sorted by class are cut into shards; so many go to each device.",
           only=is_("partition", "shards")),
    Number(name="rows", label="Rows each", group="Shares of the data", default=16, minimum=1, maximum=100_000,
           integer=True, help="So many rows for each device, drawn with replacement.",
           only=is_("partition", "resample")),
    Choice(name="strategy", label="Strategy", group="Training", default="fedavg",
           options=(("fedavg", "FedAvg"), ("fedsgd", "FedSGD"), ("fedprox", "FedProx"), ("fedadam", "Server Adam")),
           help="FedAvg averages what devices trained; FedSGD takes one step of all data a round; FedProx holds "
                "devices near the round's model; Server Adam takes an Adam step along the average change."),
    Number(name="mu", label="Mu", group="Training", default=0.1, minimum=0, maximum=1000,
           help="FedProx's pull towards the round's model; 0 is FedAvg.", only=is_("strategy", "fedprox")),
    Number(name="server_lr", label="Server rate", group="Training", default=0.03, minimum=1e-6, maximum=100,
           help="Learning rate of the server's Adam.", only=is_("strategy", "fedadam")),
    Number(name="rounds", label="Rounds", group="Training", default=40, minimum=1, maximum=100_000, integer=True,
           help="How often the devices' models are averaged."),
    Number(name="local_epochs", label="Local epochs", group="Training", default=3, minimum=1, maximum=1000,
           integer=True, help="Passes of each device over its own data in a round.",
           only=is_("strategy", "fedavg", "fedprox", "fedadam")),
    Number(name="batch_size", label="Batch size", group="Training", default=16, minimum=1, maximum=100_000,
           integer=True, unit="rows", help="Samples in one gradient step.",
           only=is_("strategy", "fedavg", "fedprox", "fedadam")),
    Number(name="lr", label="Learning rate", group="Training", default=0.1, minimum=1e-6, maximum=100,
           help="Of the devices' gradient descent."),
    Number(name="fraction", label="Fraction asked", group="Training", default=1, minimum=0.0001, maximum=1,
           help="The share of the devices that take part in a round, drawn anew each time; 1 is all of them."),
    Number(name="clip", label="Clip", group="Training", default=None, minimum=1e-9, maximum=1e9, optional=True,
           help="What a device has changed is scaled down to this length; empty is no limit."),
    Number(name="noise", label="Noise", group="Training", default=0, minimum=0, maximum=1e6, unit="× clip",
           help="Standard deviation of the Gaussian noise a device adds to what it reports, in multiples of clip.",
           unless=lambda values: None if values["clip"] else "Needs a clip."),
    Choice(name="buffers", label="Batch norm", group="Training", default="mean",
           options=(("mean", "Averaged"), ("pooled", "Pooled"), ("keep", "Kept by devices")),
           help="What becomes of running means and variances: averaged, variances pooled about the common mean, or "
                "kept by each device with its layer (FedBN).",
           only=is_("model", "resnet8", "resnet20", "resnet32", "resnet18")),
    Choice(name="engine", label="Engine", group="Machine", default="threads",
           options=(("threads", "Threads"), ("processes", "Processes"), ("virtual", "Simulated")),
           help="Where devices train: threads of this kernel start at once; processes of this machine take two "
                "seconds to start and use cores better; simulated time trains for real and takes the times from the "
                "profiles of devices and links."),
    Number(name="workers", label="Workers", group="Machine", default=min(2, CORES), minimum=1, maximum=256,
           integer=True, help=f"Threads or processes at work at a time; this machine has {CORES} cores.",
           only=is_("engine", "threads", "processes")),
    Number(name="cohort", label="Cohort", group="Machine", default=None, minimum=1, maximum=100_000, integer=True,
           optional=True,
           help="So many devices train as one batch, which is faster; empty is what suits model and number of devices, "
                "1 is one by one."),
    Number(name="slow_percent", label="Slow devices", group="Machine", default=0, minimum=0, maximum=100, unit="%",
           help="How many of the devices, drawn by the seed, are stragglers.", only=is_("engine", "virtual")),
    Number(name="slowdown", label="Slower by", group="Machine", default=10, minimum=1, maximum=10_000, unit="×",
           help="How much longer a slow device trains than by its own profile.", only=is_("engine", "virtual"),
           unless=lambda values: None if values["slow_percent"] else "No device is slow."),
    Number(name="seed", label="Seed", group="Machine", default=0, minimum=0, maximum=2**31, integer=True,
           help="The same seed gives the same model, to the bit, on any tree and engine."),
)  # fmt: skip


def topology_of(values: Mapping) -> Topology:
    """The tree that the values describe. ValueError where they do not."""
    shape, devices = values["shape"], values["devices"]
    if shape == "drawn" and values["topology"] is None:
        raise ValueError("Nothing is drawn yet. Change the tree beside, or choose another shape.")
    if shape == "drawn":
        return values["topology"].topology
    if shape == "file":
        if not values["tree_file"]:
            raise ValueError("Give the path of a YAML file that holds a tree.")
        return read_tree(Path(values["tree_file"]).expanduser().read_text())
    if shape == "balanced":
        if values["branching"] ** values["height"] > 100_000:
            raise ValueError(f"{values['branching']} to the power of {values['height']} is more than 100,000 devices.")
        return Topology.balanced(values["branching"], values["height"])
    return ragged(devices) if shape == "ragged" else Topology.tree(devices, fanouts_of(values))


def policies_of(values: Mapping, topology: Topology) -> list[dict]:
    """Of the tiers that the tree has."""
    return list(values["policies"])[:max(topology.depth.values())]


def fanouts_of(values: Mapping) -> list[int]:
    """The fanouts of `Topology.tree` for these values."""
    return {"flat": [], "balanced": [values["branching"]] * values["height"]}.get(
        values["shape"], numbers(values["fanouts"]))


def as_settings(values: Mapping) -> dict:
    """The fields' values as `Federation.from_settings` takes them."""
    given = {name: value for name, value in values.items() if name not in ALONE}
    given["dataset"] = values["folder"] if values["dataset"] == "own" else values["dataset"]
    given["engine"] = "virtual" if values["engine"] == "virtual" else f"{values['engine']}:{values['workers']}"
    given["slow"] = values["slow_percent"] / 100 if values["engine"] == "virtual" else 0
    if values["shape"] in ("flat", "tree", "balanced"):
        given["fanouts"] = ", ".join(map(str, fanouts_of(values)))
        if values["shape"] == "balanced":
            given["devices"] = values["branching"] ** values["height"]
    else:
        del given["devices"], given["fanouts"]
        given["topology"] = topology_of(values).to_dict()
    return given | {"policies": policies_of(values, topology_of(values))}


def values_of(settings: Mapping) -> dict | None:
    """The fields' values for a federation's settings; None where no fields can say them."""
    given = settings.get("values")
    if not given or given["engine"].partition(":")[0] not in ENGINES:
        return None
    name, _, workers = given["engine"].partition(":")
    known = {field.name for field in FIELDS} - {"topology", "policies"}
    values = {key: value for key, value in given.items() if key in known}
    if given["dataset"] not in DATASETS:
        values |= {"dataset": "own", "folder": given["dataset"]}
    if "topology" in given:
        values |= {"shape": "drawn", "topology": Draft.from_dict(given["topology"])}
        values.pop("devices", None), values.pop("fanouts", None)
    else:
        fanouts = given["fanouts"]
        values["fanouts"] = fanouts if isinstance(fanouts, str) else ", ".join(map(str, fanouts))
        values["shape"] = "tree" if values["fanouts"] else "flat"
    return {**values, "engine": name, "policies": tuple(given.get("policies") or ()),
            "slow_percent": round(100 * given.get("slow", 0), 6), **({"workers": int(workers)} if workers else {})}
