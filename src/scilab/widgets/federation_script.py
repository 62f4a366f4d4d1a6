"""The Python that does what the fields say, without the widget."""

from __future__ import annotations

from collections.abc import Mapping

from . import policy
from .federation_fields import as_settings, numbers

INLINE = 40  # nodes; a larger drawn tree is read from the file that the panel saves
PARTITIONS = {"iid": "iid()", "dirichlet": "dirichlet({alpha:g})", "shards": "shards({per_device})",
              "resample": "resample({rows})"}  # fmt: skip
STRATEGIES = {"fedavg": "FedAvg", "fedsgd": "FedSGD", "fedprox": "FedProx", "fedadam": "FedAdam"}
STRATEGY = ("local_epochs", "batch_size", "lr", "fraction", "clip", "noise", "mu", "server_lr")
UNSAID = {"fraction": 1, "clip": None, "noise": 0}  # the default of every strategy


def script(values: Mapping) -> str:
    """Runs as it stands; with a large drawn tree, beside the tree.yaml that the panel saves."""
    given = as_settings(values)
    kind, dealt = STRATEGIES[given["strategy"]], PARTITIONS[given["partition"]].format(**given)
    foreign = {"fedavg": ("mu", "server_lr"), "fedprox": ("server_lr",), "fedadam": ("mu",),
               "fedsgd": ("mu", "server_lr", "local_epochs", "batch_size")}[given["strategy"]]  # fmt: skip
    said = {name: given[name] for name in STRATEGY if name not in foreign
            and not (name in UNSAID and given[name] == UNSAID[name])}
    policies = [policy.as_code(each) for each in given.get("policies", ())]
    names = {kind, "Federation", "Topology", dealt.partition("(")[0]}
    names |= policy.names(given.get("policies", ()))
    slow, more = given["slow"], ""
    if slow:
        names.add("stragglers")
        more = f"tree = stragglers(tree, {slow:g}, {given['slowdown']:g}, seed={given['seed']})\n"
    extra = f"policies=[{', '.join(policies)}],\n    " if policies else ""
    extra += "".join(f"{name}={given[name]!r}, " for name, usual in (("buffers", "mean"), ("cohort", None))
                     if given[name] != usual)
    return f"""\
from scilab.datasets import load
from scilab.federated import {", ".join(sorted(names, key=str.lower))}
from scilab.models import build
from scilab.runs import Run

data = load({given["dataset"]!r})
model = build({given["model"]!r}, data.shape, len(data.classes), seed={given["seed"]})
tree = {_tree(given, values)}
{more}federation = Federation(
    model, data.train, tree, {kind}({", ".join(f"{name}={value!r}" for name, value in said.items())}),
    {extra}test=data.test, partition={dealt}, rounds={given["rounds"]},
    engine={given["engine"]!r}, seed={given["seed"]},
)
run = Run(federation).start()  # in a script: for record in federation: …
run.wait()
"""


def _tree(given: Mapping, values: Mapping) -> str:
    if values["shape"] == "file":
        return f"Topology.from_yaml({values['tree_file']!r})"
    if "topology" not in given:
        return f"Topology.tree({given['devices']}, fanouts={numbers(given['fanouts'])})"
    if len(given["topology"]["nodes"]) > INLINE:
        return 'Topology.from_yaml("tree.yaml")  # saved from the panel'
    return f"Topology.from_dict({given['topology']!r})"
