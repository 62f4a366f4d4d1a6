"""Bytes as they move on the data plane, against the sizes of what is sent."""

import pytest
import torch
from federated_cases import data, finished, ragged, run
from torch import nn

from scilab.federated import Federation, Topology, iid
from scilab.federated.layout import pack, tensors_of
from scilab.planes import Engine
from scilab.planes.serial import dumps


def _records(topology, engine="threads:2"):
    model = nn.Sequential(nn.Linear(6, 500), nn.BatchNorm1d(500), nn.Linear(500, 3))
    federation = Federation(model, data(), topology, rounds=2, partition=iid(), engine=engine)
    return model, finished(run(federation))


@pytest.mark.parametrize(
    "topology", [Topology.flat(8), Topology.balanced(2, 3), ragged(8, 4)], ids=["flat", "balanced", "ragged"]
)
def test_every_edge_carries_the_model_down_and_an_update_or_sums_up(topology):
    model, records = _records(topology)
    flats = pack(tensors_of(model).values())
    payload = len(dumps(flats))
    sums = len(dumps([torch.zeros(len(flats[0]), dtype=torch.int64), flats[1]]))
    elements = len(flats[0])
    assert elements == 6 * 500 + 500 + 4 * 500 + 500 * 3 + 3
    for record in records:
        for tier, moved in enumerate(record.bytes_by_tier):
            kinds = [kind for node, _, kind in topology.nodes if topology.depth[node] == tier + 1]
            expected = kinds.count("worker") * payload + kinds.count("aggregator") * sums
            assert moved[0] == len(kinds) * payload
            assert moved[1] == pytest.approx(expected, rel=0.02)  # devices of one task share a header
        assert (record.bytes_down, record.bytes_up) == tuple(map(sum, zip(*record.bytes_by_tier, strict=True)))
    edges, workers = len(topology.nodes) - 1, len(topology.workers)
    # S down every edge; S up from workers, 2S (64-bit sums) up from aggregators
    wanted = 4 * elements * (edges + workers + 2 * (edges - workers))
    assert abs(records[0].bytes_down + records[0].bytes_up - wanted) / wanted < 0.03


def test_processes_count_the_same_bytes_as_threads(processes):
    one, two = (_records(Topology.tree(8, [2]), engine)[1] for engine in ("threads:2", processes))
    assert [record.bytes_by_tier for record in one] == [record.bytes_by_tier for record in two]


def test_a_version_is_serialised_once_and_rows_once(monkeypatch):
    """One put per new version and one per shard for the whole run, whatever the number of devices and rounds."""
    with Engine.threads(2) as engine:
        puts, original = [], engine.store.put
        monkeypatch.setattr(engine.store, "put", lambda obj, edge=None: puts.append(obj) or original(obj, edge))
        federation = Federation(nn.Linear(6, 3), data(), Topology.flat(16), rounds=3, engine=engine, test=data(9, 1))
        run(federation)
    # the bare model, the test rows and the first version, which the coordinator's tasks follow by one put each
    assert [type(obj).__name__ for obj in puts[:2]] == ["Skeleton", "tuple"] and isinstance(puts[-1], list)
    rows = torch.cat([inputs for inputs, *_ in puts[2:-1]])
    assert sorted(rows[:, 0].tolist()) == sorted(data()[0][:, 0].tolist())  # every row of every device, once
