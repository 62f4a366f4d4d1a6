"""The data plane: equal bits whatever the connector, leases that end, bytes that add up."""

import io
import pickle

import numpy as np
import pytest
import torch
import work
from work import collect

from scilab.planes import INLINE_BYTES, Engine, Store, get, put
from scilab.planes.serial import dumps, loads


def weights(seed=0, size=40_000):
    g = torch.Generator().manual_seed(seed)
    return {"w": torch.randn(size, generator=g), "n": torch.tensor(3), "half": torch.randn(7, 5, generator=g).half()}


@pytest.fixture(params=["local", "file"])
def store(request, tmp_path):
    made = Store.local() if request.param == "local" else Store.file(tmp_path)
    yield made
    made.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.zeros(0, 5),
        torch.tensor(2.5, dtype=torch.float64),
        torch.randn(3, 4).bfloat16(),
        torch.tensor([True, False]),
        torch.randn(2, 2, dtype=torch.complex64),
        torch.randn(6, 4).t(),
        torch.arange(10)[3:7],
        torch.tensor([float("nan"), float("inf"), -0.0]),
    ],
    ids=lambda t: f"{t.dtype}{tuple(t.shape)}",
)
def test_tensors_keep_every_bit(tensor):
    back = loads(dumps(tensor))
    assert back.dtype == tensor.dtype and back.shape == tensor.shape
    raw = [io.BytesIO(), io.BytesIO()]
    for file, t in zip(raw, (back, tensor), strict=True):
        torch.save(t.contiguous().clone(), file)
    assert raw[0].getvalue() == raw[1].getvalue()


def test_parameters_modules_and_sharing_survive():
    layer = torch.nn.Linear(50, 50)
    tied = torch.nn.Sequential(layer, layer)
    back = loads(dumps(tied))
    assert back[0].weight is back[1].weight
    assert isinstance(back[0].weight, torch.nn.Parameter) and back[0].weight.requires_grad
    assert same(back[0].weight.detach(), layer.weight.detach())
    state = loads(dumps(tied.state_dict()))
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr()  # tied in the state, too
    whole = torch.arange(100_000.0)
    piece = dumps(whole[500:600])
    assert len(piece) < 2_000 and same(loads(piece), whole[500:600])  # a slice travels alone


def test_arrays_and_plain_data():
    data = {"a": np.arange(6).reshape(2, 3)[:, ::-1], "b": [1, (2, None)], "c": "é", "d": np.float64(0.1)}
    back = loads(dumps(data))
    assert np.array_equal(back["a"], data["a"]) and {k: back[k] for k in "bcd"} == {k: data[k] for k in "bcd"}


def test_what_cannot_be_sent_is_named():
    with pytest.raises(TypeError, match="a generator cannot be sent"):
        dumps(x for x in [])
    with pytest.raises(ValueError, match="not written by scilab"):
        loads(pickle.dumps([1, 2]) + bytes(20))


def test_every_get_is_private(store):
    key = store.put(weights())
    first, second = store.get(key), store.get(key)
    first["w"].zero_()
    assert same(second["w"], weights()["w"]) and same(store.get(key)["w"], weights()["w"])
    store.release(key)


def test_an_object_goes_with_its_last_lease(store):
    key = store.put(weights())
    store.lease(key)
    store.release(key)
    assert store.count() == 1 and same(store.get(key)["w"], weights()["w"])
    store.release(key)
    assert store.count() == 0
    for act in (store.get, store.lease):
        with pytest.raises(LookupError, match="lease has ended"):
            act(key)
    with pytest.raises(ValueError, match="more often"):
        store.release(key)


def test_small_objects_travel_in_their_key(store):
    small, large = store.put(b"x" * 100), store.put(b"x" * INLINE_BYTES)
    assert (small.inline is not None, large.inline) == (True, None)
    assert store.count() == 1
    store.release(small)  # nothing to release, no error
    store.release(large)
    assert store.get(small) == b"x" * 100


def test_an_address_is_held_until_released(store):
    address = store.address()
    assert store.count() == 1
    key = put(address, weights())
    assert same(get(key)["w"], weights()["w"])
    store.release(key)
    assert store.count() == 0
    with pytest.raises(LookupError):
        get(key)


def test_after_its_release_an_address_takes_nothing(store):
    address = store.address()
    store.release(address)
    key = put(address, weights())
    with pytest.raises(LookupError):
        get(key)


def test_keys_are_small_hashable_and_travel(store):
    key = store.put(weights(size=2_000_000))
    copy = pickle.loads(pickle.dumps(key))
    assert copy == key and hash(copy) == hash(key)
    assert len(pickle.dumps(key)) < 700
    store.release(copy)
    assert store.count() == 0


@pytest.fixture(scope="module")
def engines(processes):
    with Engine.threads(2) as threads:
        yield threads, processes


def test_local_and_file_planes_give_equal_bits_and_count_their_edges(engines):
    results = []
    for engine in engines:
        store, before = engine.store, engine.store.bytes_by_edge()
        key = store.put(weights(), edge=("put", 0))
        with engine.session() as session:
            addresses = [store.address() for _ in range(3)]
            for address in addresses:
                session.submit(work.double, key, address, uses=(key,), outputs=(address,))
            keys = [c.value for c in collect(session, 3)]
        results.append([store.get(k) for k in keys])
        moved = {edge: n - before.get(edge, 0) for edge, n in store.bytes_by_edge().items()}
        assert moved[("put", 0)] == key.nbytes
        assert moved[("down", 1)] == 3 * key.nbytes and moved[("up", 1)] == sum(k.nbytes for k in keys)
        for k in [key, *keys]:
            store.release(k)
        assert store.count() == 0
    for a, b in zip(*results, strict=True):
        assert all(same(a[name], b[name]) and same(a[name], 2 * weights()[name]) for name in a)


@pytest.mark.parametrize("what", ["raise", "die", "sleep"])
def test_nothing_is_left_behind_a_failed_task(processes, what):
    store = processes.store
    with processes.session() as session:
        key = store.put(weights())
        addresses = [store.address() for _ in range(4)]
        for address in addresses:
            session.submit(work.write_then, address, weights(1), what, uses=(key,), outputs=(address,), timeout_s=0.5)
        store.release(key)
        done = collect(session, 4)
    assert [str(c.failure) for c in done if c.failure.error_type in ("ImportError", "AttributeError")] == []
    assert {c.failure.kind for c in done} == {{"raise": "raised", "die": "lost", "sleep": "timeout"}[what]}
    assert store.count() == 0
    assert not list(files(store))


def files(store):
    from pathlib import Path

    return [p for p in Path(dict(store.place.config)["store_dir"]).iterdir() if p.is_file()]


def test_a_session_that_closes_early_leaves_nothing(engines):
    for engine in engines:
        store = engine.store
        session = engine.session()
        key = store.put(weights())
        for _ in range(8):
            address = store.address()
            session.submit(work.write_then, address, weights(2), "", uses=(key,), outputs=(address,))
        session.next(60)  # its output is the caller's now
        store.release(key)
        session.close()
        assert store.count() <= 1


def test_control_plane_bytes_do_not_grow_with_the_model(processes):
    sizes = []
    with processes.session() as session:
        for size in (2_500, 11_250_000):
            key = processes.store.put(torch.zeros(size))
            number = session.submit(work.nothing, key, uses=(key,))
            task = session.running.get(number) or session.backlog[-1]
            sizes.append(sum(len(part) for part in session.sendable(task)))
            session.next(60)
            processes.store.release(key)
    assert abs(sizes[1] - sizes[0]) / sizes[0] < 0.05
