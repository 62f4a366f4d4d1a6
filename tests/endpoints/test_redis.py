"""The same work over three data planes gives the same bits; a real Redis server is left as empty as it was."""

import endpoint_work as work
import pytest
import redis
import torch
from sites import free_port, redis_server

from scilab.planes import Engine, Store


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def server(port):
    client = redis.Redis(port=port)
    assert client.dbsize() == 0
    yield client
    assert client.dbsize() == 0, "objects were left in Redis"
    client.close()


def model():
    g = torch.Generator().manual_seed(5)
    shapes = {"w": (300, 400), "b": (400,), "deep": (5, 5, 3, 3)}
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


def bits(tensors):
    return {name: (t.dtype, tuple(t.shape), t.numpy().tobytes()) for name, t in tensors.items()}


def double_on(engine):
    """Five tasks that double one stored model; their results' bits, and bytes by edge."""
    store = engine.store
    key = store.put(model(), edge="put")
    with engine.session() as session:
        addresses = [store.address() for _ in range(5)]
        for address in addresses:
            session.submit(work.twice, key, address, uses=(key,), outputs=(address,))
        store.release(key)
        done = [session.next(60) for _ in addresses]
        assert [c.failure for c in done] == [None] * 5
        found = [bits(store.get(c.value[0])) for c in done]
        for completion in done:
            store.release(completion.value[0])
        assert store.count() == 0
    return found, store.bytes_by_edge()


def test_local_file_and_redis_give_equal_bits(server, port, workers, tmp_path):
    results, edges = [], []
    for engine in (Engine.threads(2), workers(Store.file(tmp_path)), workers(Store.redis(port=port))):
        with engine:
            found, nbytes = double_on(engine)
        results.append(found)
        edges.append(nbytes)
    expected = bits({name: 2 * tensor for name, tensor in model().items()})
    assert results == [[expected] * 5] * 3
    assert edges[0] == edges[1] == edges[2]
    assert edges[0]["down"] == 5 * edges[0]["put"] > 5 * 4 * 300 * 400


def test_failed_tasks_leave_nothing_in_redis(server, port, workers):
    store = Store.redis(port=port)
    kinds = {"raise": "raised", "die": "lost"}
    with workers(store).session() as session:
        for what in ("raise", "die", "raise"):
            address = store.address()
            session.submit(work.write_and, address, model(), what, outputs=(address,), tag=what)
        done = [session.next(60) for _ in range(3)]
        assert [c.failure.kind for c in done] == [kinds[c.tag] for c in done]
        assert store.count() == 0 and server.dbsize() == 0


def test_closing_a_store_clears_what_was_still_held(server, port, workers):
    store = Store.redis(port=port)
    held = [store.put(model()) for _ in range(3)]
    assert server.dbsize() == 3
    engine = workers(store)
    with engine.session() as session:
        address = store.address()
        session.submit(work.twice, held[0], address, uses=(held[0],), outputs=(address,))
        assert session.next(60).ok and server.dbsize() == 4
    engine.close()  # leaves a store that it was given to its owner
    assert server.dbsize() == 4
    store.close()


def test_a_missing_server_says_what_to_start():
    port = free_port()
    with pytest.raises(ValueError, match=f"no Redis server answers at 127.0.0.1:{port}.*redis-server --port {port}"):
        Store.redis(port=port)


@pytest.mark.slow
def test_a_redis_that_dies_costs_tasks_never_the_session(workers, tmp_path):
    with redis_server(tmp_path) as port:
        store = Store.redis(port=port)
        engine = workers(store)
        session = engine.session()
        keys = [store.put(model()) for _ in range(3)]
        address = store.address()
        session.submit(work.twice, keys[0], address, uses=(keys[0],), outputs=(address,))
        assert session.next(60).ok
    for key in keys:
        session.submit(work.twice, key, address, uses=(key,))
        store.release(key)
    done = [session.next(60) for _ in keys]
    assert [c.failure.kind for c in done] == ["raised"] * 3
    assert all("refused" in c.failure.message for c in done)
    session.submit(pow, 2, 10)
    assert session.next(60).value == 1024
    session.close()
    engine.close()
    assert engine.state == "closed" and store.unreachable > 0
    store.close()
    assert store.count() == 0
