"""Two sites that know each other only through a relay: bytes go from endpoint to endpoint, keys with the tasks."""

import uuid

import endpoint_work as work
import pytest
import requests
import torch
from proxystore.endpoint.config import EndpointConfig, write_config
from sites import free_port, two_sites

from scilab.planes import Store, get, put


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    with two_sites(tmp_path_factory.mktemp("sites")) as found:
        yield found


@pytest.fixture
def here(homes, monkeypatch):
    """This process's site, as a person sets it: by PROXYSTORE_HOME."""
    monkeypatch.setenv("PROXYSTORE_HOME", str(homes[0][0]))
    return homes[0]


def model():
    g = torch.Generator().manual_seed(5)
    shapes = {"w": (1000, 1250), "b": (1250,), "deep": (5, 5, 3, 3)}
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


def bits(tensors):
    return {name: (t.dtype, tuple(t.shape), t.numpy().tobytes()) for name, t in tensors.items()}


def stored(store, key):
    """Asks the endpoint itself, past the data plane, whether it has the object."""
    _, name, endpoint = key.name
    address = f"{store._connector.address}/exists"
    return requests.get(address, params={"key": name, "endpoint": endpoint}, timeout=30).json()["exists"]


def test_objects_live_in_the_endpoint_until_their_last_lease(homes, here):
    store = Store.endpoint([identity for _, identity in homes])
    key = store.put(model())
    assert key.nbytes > 5_000_000 and stored(store, key)
    store.lease(key)
    store.release(key)
    assert bits(store.get(key)) == bits(model()) and stored(store, key)
    store.release(key)
    assert store.count() == 0 and not stored(store, key)
    with pytest.raises(LookupError, match="lease has ended"):
        store.get(key)
    address = store.address()
    made = put(address, model())
    assert bits(get(made)) == bits(model()) and stored(store, made)
    store.close()
    leftover = Store.endpoint([here[1]])
    assert not stored(leftover, made)
    leftover.close()


@pytest.mark.slow
@pytest.mark.parametrize("site", [0, 1], ids=["same site", "other site"])
def test_workers_at_either_site_read_and_write_equal_bits(homes, here, workers, tmp_path, site):
    results, counts = [], []
    planes = [Store.endpoint([identity for _, identity in homes])] + ([Store.file(tmp_path)] if site == 0 else [])
    for store in planes:
        key = store.put(model(), edge="put")
        engine = workers(store, f"export PROXYSTORE_HOME={homes[1][0]}") if site == 1 else workers(store)
        with engine, engine.session() as session:
            addresses = [store.address() for _ in range(3)]
            for address in addresses:
                session.submit(work.twice, key, address, uses=(key,), outputs=(address,))
            store.release(key)
            done = [session.next(60) for _ in addresses]
            assert [c.failure for c in done] == [None] * 3
            assert {c.value[1] for c in done} == {str(homes[site][0])}
            results += [bits(store.get(c.value[0])) for c in done]
            for completion in done:
                store.release(completion.value[0])
            assert store.count() == 0
            if store.kind == "endpoint":
                assert not any(stored(store, each) for each in [key, *(c.value[0] for c in done)])
            counts.append(store.bytes_by_edge())
    if site == 1:
        log = homes[1][0] / "there" / "log.txt"
        assert "peer channels established" in log.read_text(), "the bytes did not go from endpoint to endpoint"
    expected = bits({name: 2 * tensor for name, tensor in model().items()})
    assert results == [expected] * (3 * len(planes))
    assert all(count == counts[0] for count in counts)
    assert counts[0]["down"] == 3 * counts[0]["put"]


def test_a_failed_task_at_the_other_site_leaves_nothing(homes, here, workers):
    store = Store.endpoint([identity for _, identity in homes])
    with workers(store, f"export PROXYSTORE_HOME={homes[1][0]}").session() as session:
        addresses = {}
        for what in ("raise", "die"):
            address = store.address()
            addresses[session.submit(work.write_and, address, model(), what, outputs=(address,))] = address
        kinds = {c.task: c.failure.kind for c in (session.next(60), session.next(60))}
        assert [kinds[number] for number in addresses] == ["raised", "lost"]
        assert store.count() == 0
        assert not any(stored(store, address) for address in addresses.values())


def test_endpoints_that_do_not_answer_say_what_to_start(tmp_path):
    stopped = str(uuid.uuid4())
    config = EndpointConfig(name="stopped", uuid=stopped, host="127.0.0.1", host_type="static", port=free_port())
    write_config(config, str(tmp_path / "stopped"))
    for identity in (stopped, str(uuid.uuid4()), "no UUID"):
        with pytest.raises(ValueError, match="proxystore-endpoint start") as raised:
            Store.endpoint([identity], str(tmp_path))
        assert identity in str(raised.value)
