"""Nodes that run where their profiles say: same bits, and each task at its place."""

import pytest
from federated_cases import Net, data, finished, given, run, same, weights

from scilab.federated import Asynchronous, DeviceFinished, FedAvg, Federation, Profile, Topology
from scilab.planes import Engine, Sites, Store

PARTS = [range(8 * device, 8 * device + 8) for device in range(12)]


@pytest.fixture
def sites(tmp_path):
    with Store.file(tmp_path) as store, Engine.threads(2, store) as near, Engine.processes(1, store=store) as far:
        yield Sites({"near": near, "far": far})


def topology():
    """Workers 2, 5, 8 and 11 and one of three aggregators at the far site."""
    tree = Topology.tree(12, [3])
    return tree.with_profiles({node: Profile(engine="far") for node in (*tree.workers[2::3], "a1")})


def federation(engine, tree, **changes):
    return Federation(
        Net(), data(), tree, FedAvg(1, 4, 0.1), test=data(40, 9), partition=given(*PARTS), rounds=2, engine=engine,
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize("policies", [None, Asynchronous()], ids=["synchronous", "asynchronous"])
def test_devices_and_aggregators_run_at_their_sites(sites, policies, monkeypatch):
    import scilab.planes.sites as module

    sent, submit = [], module.SitesSession.submit

    def spy(self, function, *args, at=None, **kwargs):
        sent.append((function.__name__, at))
        return submit(self, function, *args, at=at, **kwargs)

    monkeypatch.setattr(module.SitesSession, "submit", spy)
    spread = federation(sites, topology(), policies=policies)
    records = run(spread)
    for record in records:
        if isinstance(record, DeviceFinished):
            far = record.device in topology().workers[2::3]
            assert record.worker.startswith("scilab-worker") != far, record
    sums = {at for name, at in sent if name in ("aggregate", "collect")}
    assert sums == {None, "far"}
    assert len(finished(records)) == 2
    assert sites.store.count() == 0
    if policies is None:
        plain = federation("threads:2", Topology.tree(12, [3]))
        run(plain)
        same(weights(plain), weights(spread))


def test_a_site_that_is_not_there_is_named(sites):
    wrong = Topology.flat(12).with_profiles({"w3": Profile(engine="moon")})
    with pytest.raises(ValueError, match="node 'w3' is to run at engine 'moon'; there are near, far"):
        federation(sites, wrong)
    with pytest.raises(ValueError, match="node 'w3' is to run at engine 'moon', and there is only one engine here"):
        federation("threads:2", wrong)
    with pytest.raises(ValueError, match="engine must be the name of a site, or None for the first, got 3"):
        Profile(engine=3)
