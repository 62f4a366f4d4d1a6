"""Bytes on every edge and hop, and simulated time, against sums by hand."""

import pytest
import torch
from federated_cases import Net, data, finished, given, ragged, run, same, uneven, weights
from torch import nn

from scilab.federated import (
    Deadline,
    DeviceFailed,
    DeviceFinished,
    FedAvg,
    Federation,
    Profile,
    Topology,
    iid,
    resample,
)
from scilab.federated.layout import pack, tensors_of
from scilab.federated.wires import Wires, on_grid
from scilab.planes import Engine
from scilab.planes.serial import dumps


def _bytes(topology, network=None, width=500, partials="float32", rows=16):
    """A round's last record, the payload's size, and the federation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, width), nn.Linear(width, 3))
    federation = Federation(
        model, data(), topology, FedAvg(batch_size=None), rounds=1, partition=resample(rows), engine="threads:2",
        partials=partials, network=network,
    )  # fmt: skip
    (record,) = finished(run(federation))
    return record, len(dumps(pack(tensors_of(model).values()))), federation


@pytest.mark.parametrize("topology", [Topology.balanced(2, 4), ragged(12, 3)], ids=["balanced", "ragged"])
def test_with_means_all_edges_carry_twice_the_model(topology):
    """2 · |E| · S; with exact sums every aggregator's uplink carries twice as much."""
    edges, aggregators = len(topology.nodes) - 1, len(topology.nodes) - 1 - len(topology.workers)
    record, payload, _ = _bytes(topology, width=4000)
    assert record.bytes_down + record.bytes_up == pytest.approx(2 * edges * payload, rel=0.01)
    record, payload, _ = _bytes(topology, width=4000, partials="float64")
    assert record.bytes_down + record.bytes_up == pytest.approx((2 * edges + aggregators) * payload, rel=0.01)


def test_every_edge_is_counted_and_a_tiers_edges_add_up_to_the_tier():
    topology = ragged(12, 3)
    record, payload, federation = _bytes(topology)
    edges = federation.bytes_by_edge()
    assert set(edges) == {(parent, node) for node, parent, _ in topology.nodes if parent}
    for tier, moved in enumerate(record.bytes_by_tier):
        of_tier = [both for (_, node), both in edges.items() if topology.depth[node] == tier + 1]
        assert tuple(map(sum, zip(*of_tier, strict=True))) == tuple(moved)
    assert all(down == payload and up == pytest.approx(payload, rel=0.05) for down, up in edges.values())


@pytest.mark.parametrize(
    ("height", "width", "multicast", "unicast"),
    [(8, 4000, 60.1, 75.1), (11, 1200, 69.2, 81.8)],
    ids=["Flight's 256", "2048"],
)
def test_the_savings_of_flights_paper_come_out_of_measurement(height, width, multicast, unicast):
    """Its artifact computes 1 - 2E/(E + Nh) = 60.13 % for balanced(2, 8) by formula; here bytes are counted."""
    network = Topology.balanced(2, height)
    tree, _, _ = _bytes(network, width=width, rows=1)
    flat, _, _ = _bytes(Topology.flat(2**height), network, width=width, rows=1)
    moved = tree.bytes_down + tree.bytes_up
    assert [round(100 * (1 - moved / hops), 1) for hops in flat.network] == [multicast, unicast]
    assert tree.network is None


def test_cohorts_take_each_devices_own_simulated_time():
    """64 devices, every tenth ten times as slow: cohorts or not, the same clock, idleness and schedule."""
    slow = {f"w{i}": Profile(speed=100.0 if i % 10 else 10.0, latency_s=0.25) for i in range(64)}
    told = []
    for cohort in (1, 8):
        federation = Federation(
            nn.Linear(6, 3), data(256), Topology.tree(64, [5]).with_profiles(slow), FedAvg(batch_size=None), rounds=2,
            partition=resample(8), engine="virtual", cohort=cohort,
        )  # fmt: skip
        records = run(federation)
        times = sorted((r.round, r.device, r.began, r.seconds) for r in records if isinstance(r, DeviceFinished))
        told.append((times, [(r.seconds, r.idle) for r in finished(records)]))
    assert told[0] == told[1]
    times, rounds = told[1]
    assert {seconds for _, device, _, seconds in times if device == "w0"} == {on_grid(8 / 10) + 0.5}
    assert {began for number, _, began, _ in times if number == 1} == {0.0}
    assert rounds[0][0] == on_grid(8 / 10) + 0.5


def test_a_network_of_its_own_links_changes_nothing_but_the_counts():
    network = Topology.balanced(2, 3)
    (one, _, first), (two, _, second) = _bytes(Topology.flat(8)), _bytes(Topology.flat(8), network)
    assert one.bytes_by_tier == two.bytes_by_tier
    same(weights(first), weights(second))
    own, _, _ = _bytes(network, network)
    assert own.network == (own.bytes_down + own.bytes_up,) * 2  # every hop is an edge


def test_a_network_without_the_devices_is_refused_by_name():
    with pytest.raises(ValueError, match="node 'w8' is not in the network"):
        Wires(Topology.flat(9), Topology.balanced(2, 3))
    with pytest.raises(ValueError, match="node 'w0' is not below 'a0' in the network"):
        Wires(Topology.tree(4, [2]), Topology(_swapped()))
    with pytest.raises(ValueError, match="partials must be 'float64' .* or 'float32', got 'float16'"):
        Federation(Net(), data(), Topology.flat(2), partials="float16")


def _swapped():
    other = {"a0": "a1", "a1": "a0"}
    return [(n, other.get(p, p) if n[0] == "w" else p, kind) for n, p, kind in Topology.tree(4, [2]).nodes]


PARTS = [range(12 * device, 12 * device + 4 + 2 * device) for device in range(4)]  # 4, 6, 8, 10 rows


def _timed(topology, engine="virtual", rounds=2, **changes):
    given_ = {"partition": given(*PARTS), "rounds": rounds, "engine": engine, **changes}
    return Federation(Net(), data(), topology, FedAvg(3, 4, 0.1), **given_)


def test_simulated_time_is_that_of_the_slowest_way():
    """Two aggregators of two devices; model and update of S bytes, sums of about 2 S by their nominal size."""
    topology = Topology.tree(4, [2]).with_profiles({
        "w0": Profile(speed=2.0),
        "w1": Profile(speed=100.0, latency_s=1.5),
        "w3": Profile(speed=4.0, bandwidth_bps=1e4),
        "a1": Profile(bandwidth_bps=1e5, latency_s=0.25),
    })  # fmt: skip
    federation = _timed(topology)
    records = run(federation)
    s = len(dumps(pack(tensors_of(Net()).values())))
    device = {
        "w0": on_grid(3 * 4 / 2.0),
        "w1": 1.5 + on_grid(3 * 6 / 100.0) + 1.5,
        "w2": on_grid(0.25 + 8 * s / 1e5) + on_grid(3 * 8 / 1000.0),
        "w3": on_grid(0.25 + 8 * s / 1e5 + 8 * s / 1e4) + on_grid(3 * 10 / 4.0) + on_grid(8 * s / 1e4),
    }
    first = {r.device: r for r in records[:5] if isinstance(r, DeviceFinished)}
    assert {name: r.seconds for name, r in first.items()} == device
    assert [r.device for r in records[1:5]] == sorted(device, key=device.get)
    makespan = max(device["w0"], device["w3"] + on_grid(0.25 + 8 * 2 * s / 1e5))
    one, two = finished(records)
    assert one.seconds == two.seconds == makespan
    assert one.idle == pytest.approx(1 - sum(device.values()) / (4 * makespan))
    assert {r.began for r in records[5:] if isinstance(r, DeviceFinished)} == {makespan}


@pytest.mark.parametrize("policies", [None, [Deadline(1e9)]], ids=["rounds", "flow"])
def test_who_was_asked_and_did_not_answer_was_idle(policies):
    """Two of four train a known time; in a round without waiting for the others it is over after the longer one."""
    slow = {"w0": Profile(speed=2.0), "w1": Profile(speed=4.0)}
    away = {"w2": Profile(availability=1e-9), "w3": Profile(availability=1e-9)}
    last = finished(run(_timed(Topology.flat(4).with_profiles(slow | away), policies=policies, rounds=1)))[-1]
    busy = on_grid(3 * 4 / 2.0), on_grid(3 * 6 / 4.0)
    assert last.seconds == max(busy) and last.idle == pytest.approx(1 - sum(busy) / (4 * max(busy)))


def test_simulated_time_changes_no_bit_and_is_the_same_on_any_inner_engine(processes):
    topology = ragged(4, 5).with_profiles({"w1": Profile(speed=3.0), "w2": Profile(latency_s=0.5)})
    real, simulated = _timed(topology, "threads:2"), _timed(topology)
    inner = _timed(topology, Engine.virtual(lambda tag: tag[0], 1 << 40, processes))
    assert all(r.seconds > 0 and r.idle is None for r in finished(run(real)))
    records = run(simulated)
    assert [(type(r), getattr(r, "device", None)) for r in records] == [
        (type(r), getattr(r, "device", None)) for r in run(inner)
    ]
    same(weights(real), weights(simulated))
    same(weights(real), weights(inner))


def test_a_flat_federation_over_the_trees_links_takes_their_time():
    hops = {node: Profile(latency_s=1.0) for node in ("a0", "a1", "w0", "w1", "w2", "w3")}
    network = Topology.tree(4, [2]).with_profiles(hops)
    (record,) = finished(run(_timed(Topology.flat(4), network=network, rounds=1)))
    assert record.seconds == 2 + on_grid(3 * 10 / 1000.0) + 2  # two hops each way
    (record,) = finished(run(_timed(Topology.flat(4), rounds=1)))
    assert record.seconds == on_grid(3 * 10 / 1000.0)


def test_a_device_that_is_not_available_is_named_and_the_seed_decides():
    devices = {f"w{i}": Profile(availability=0.5) for i in range(8)}
    topology = Topology.tree(12, [3]).with_profiles(devices)
    made = [
        Federation(Net(), data(), t, rounds=20, partition=iid(), engine="threads:2", seed=5)
        for t in (topology, Topology.flat(12).with_profiles(devices))
    ]
    one, two = (run(federation) for federation in made)
    absent = [{(r.round, r.device) for r in records if isinstance(r, DeviceFailed)} for records in (one, two)]
    assert absent[0] == absent[1] and 50 < len(absent[0]) < 110  # of 160, a standard deviation is 6.3
    assert {device for _, device in absent[0]} == set(devices)
    assert all("was not available" in r.reason for r in one if isinstance(r, DeviceFailed))
    assert [r.failed for r in finished(one)] == [sum(n == r.round for n, _ in absent[0]) for r in finished(one)]
    same(weights(made[0]), weights(made[1]))


def test_stopping_resuming_and_failures_work_in_simulated_time():
    topology = Topology.tree(11, [3]).with_profiles({"w3": Profile(speed=1.0)})
    make = lambda: Federation(Net(), data(), topology, partition=uneven, rounds=3, engine="virtual")  # noqa: E731
    whole, stopped = make(), make()
    run(whole)
    for count, _ in enumerate(stopped):
        if count == 17:
            stopped.send("stop")
    assert stopped.state_dict()["round"] == 1
    assert [r.round for r in finished(run(stopped))] == [2, 3]
    same(weights(whole), weights(stopped))
