"""Bytes that move in a round, counted where they are read and written: a tree against a flat federation over its links.

    python tests/benchmarks/federated_bytes.py

S is the size of the serialised model. With `partials="float32"` all edges of a tree together should carry 2 |E| S, with
exact sums ("float64") an aggregator's uplink 2 S. The flat federation has the same devices, and its messages take the
tree's links (`network=tree`), every hop counted: once where a link serves several devices on the way down (multicast),
or once for each (unicast). Flight's artifact computes 60.13 % (against multicast) for balanced(2, 8); here it is
counted. The last line is JSON.
"""

import json

import torch
from metering import machine
from torch import nn

from scilab.federated import FedAvg, Federation, RoundFinished, Topology, resample
from scilab.federated.layout import pack, tensors_of
from scilab.planes.serial import dumps

TREES = {"balanced(2, 8)": (2, 8, 6000), "balanced(2, 11)": (2, 11, 2500), "balanced(4, 5)": (4, 5, 4000)}
"""Branching, height, width of the network."""


def moved(topology: Topology, width: int, partials: str, network: Topology | None = None) -> tuple:
    """A round's last record, the bytes on every edge, and S."""
    data = torch.randn(96, 6), torch.arange(96) % 3
    model = nn.Sequential(nn.Linear(6, width), nn.Linear(width, 3))
    federation = Federation(
        model, data, topology, FedAvg(batch_size=None), rounds=1, partition=resample(2), engine="threads:2",
        partials=partials, network=network, cohort=1,
    )  # fmt: skip
    (record,) = [record for record in federation if isinstance(record, RoundFinished)]
    return record, federation.bytes_by_edge(), len(dumps(pack(tensors_of(model).values())))


def main() -> None:
    """Count, print, end with a line of JSON."""
    found = {}
    for name, (branching, height, width) in TREES.items():
        tree = Topology.balanced(branching, height)
        edges, inner = len(tree.above) - 1, {node for node, _, kind in tree.nodes if kind == "aggregator"}
        means, _, size = moved(tree, width, "float32")
        exact, by_edge, _ = moved(tree, width, "float64")
        flat, _, _ = moved(Topology.flat(branching**height), width, "float32", tree)
        total, uplinks = (
            means.bytes_down + means.bytes_up,
            [up for (_, node), (_, up) in by_edge.items() if node in inner],
        )
        found[name] = one = {
            "edges": edges, "payload_bytes": size, "tree_bytes": total, "tree_to_2ES": total / (2 * edges * size),
            "tree_bytes_exact_sums": exact.bytes_down + exact.bytes_up,
            "aggregator_uplink_to_S_exact_sums": sum(uplinks) / len(uplinks) / size,
            "flat_bytes_multicast": flat.network[0], "flat_bytes_unicast": flat.network[1],
            "saved_to_multicast_percent": 100 * (1 - total / flat.network[0]),
            "saved_to_unicast_percent": 100 * (1 - total / flat.network[1]),
        }  # fmt: skip
        print(
            f"{name}: {one['tree_to_2ES']:.4f} of 2ES, uplinks {one['aggregator_uplink_to_S_exact_sums']:.3f} S with "
            f"exact sums, saved {one['saved_to_multicast_percent']:.1f} % (multicast), "
            f"{one['saved_to_unicast_percent']:.1f} % (unicast)",
            flush=True,
        )
    print(json.dumps({"trees": found, **machine("torch")}))


if __name__ == "__main__":
    main()
