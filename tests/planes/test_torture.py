"""Ten thousand tasks on worker processes, with everything going wrong that can: each ends exactly once."""

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import work

from scilab.planes import Engine, Stopped

TASKS = 10_000
KILLS = 5


def plan(index):
    """What task ``index`` is, and the kinds of end it may have."""
    if index % 1000 == 500:
        return work.hang, (), {"timeout_s": 0.2}, {"timeout", "lost"}
    if index % 50 == 7:
        return work.poison, (), {}, {"raised", "lost"}
    if index % 200 == 11:
        return work.rotten, (), {}, {"unsendable", "lost"}
    if index % 500 == 13:
        return work.sleep, (30,), {"timeout_s": 0.1}, {"timeout", "lost"}
    return work.square, (index,), {}, {"ok", "lost"}


@pytest.fixture
def engine():
    with Engine.processes(2, gpus=0) as made:
        yield made.wait_ready()


def test_every_task_ends_once(engine):
    store, session = engine.store, engine.session()
    model = store.put(bytes(50_000))
    allowed, ends, kills = {}, Counter(), []
    rng = random.Random(5)
    done = threading.Event()

    def killer():
        while len(kills) < KILLS and not done.wait(rng.uniform(0.3, 1.5)):
            pids = [int(place.rpartition("~")[2]) for place in engine.pool.doing()]
            alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
            if alive:
                kills.append(rng.choice(alive))
                os.kill(kills[-1], signal.SIGKILL)

    threading.Thread(target=killer, daemon=True).start()
    try:
        for index in range(TASKS):
            function, args, options, kinds = plan(index)
            uses = (model,) if index % 3 == 0 else ()
            outputs = (store.address(),) if index % 10 == 0 else ()
            number = session.submit(function, *args, tag=(index, outputs), uses=uses, outputs=outputs, **options)
            allowed[number] = (index, kinds)
        for _ in range(TASKS):
            end = session.next(60)
            assert end is not None, f"{len(allowed) - len(ends)} tasks never ended; {engine}, {engine.pool.doing()}"
            ends[end.task] += 1
            index, kinds = allowed[end.task]
            kind = "ok" if end.ok else end.failure.kind
            assert kind in kinds, (index, end)
            if end.ok:
                assert end.value == index * index
                for address in end.tag[1]:
                    store.release(address)
    finally:
        done.set()
    assert session.next(0.5) is None
    assert set(ends) == set(allowed) and set(ends.values()) == {1}
    assert len(kills) == KILLS
    store.release(model)
    assert store.count() == 0
    folder = Path(dict(store.place.config)["store_dir"])
    assert [p for p in folder.iterdir() if p.is_file()] == []
    session.close()


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.3, 1.0])
def test_stop_is_obeyed_within_a_second_at_any_moment(moment):
    with Engine.processes(2, gpus=0) as engine:
        session = engine.session()
        for _ in range(50):
            session.submit(work.sleep, 0.7)
            session.submit(work.hang)
        asked = []

        def stop():
            asked.append(time.monotonic())
            session.send("stop")

        threading.Timer(moment, stop).start()
        with pytest.raises(Stopped):
            while True:
                session.next(60)
        session.close()
        assert time.monotonic() - asked[0] < 1.0  # the promise itself, not a speed
        assert session.waiting == 0 and engine.store.count() == 0
