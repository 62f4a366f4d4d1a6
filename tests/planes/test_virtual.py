"""Virtual engines: real values, simulated order, the same on every machine."""

import heapq
import threading
import time

import pytest
import work

from scilab.planes import Engine, EngineError, Stopped


def schedule(seconds, workers):
    """The textbook second implementation: first free worker takes the next task."""
    free, out = [0.0] * workers, []
    for index, s in enumerate(seconds):
        start = heapq.heappop(free)
        heapq.heappush(free, start + s)
        out.append((start + s, index))
    return sorted(out)


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("inner", [False, True])
def test_completions_follow_a_list_schedule(workers, inner):
    seconds = [((7 * i) % 5 + 1) * 0.5 + 0.01 * i for i in range(20)]
    threads = Engine.threads(2) if inner else None
    with Engine.virtual(lambda i: seconds[i], workers, threads) as engine, engine.session() as session:
        for i in range(20):
            session.submit(work.square, i, tag=i)
        done = [session.next() for _ in range(20)]
        assert session.next(timeout_s=0) is None
    assert [(pytest.approx(c.timing.ended), c.tag) for c in done] == schedule(seconds, workers)
    assert [c.value for c in done] == [c.tag**2 for c in done]
    assert all(c.timing.seconds == pytest.approx(seconds[c.tag]) for c in done)
    if threads is not None:
        threads.close()


def test_work_submitted_later_starts_later():
    with Engine.virtual(lambda tag: 2.0, 1) as engine, engine.session() as session:
        session.submit(work.square, 2)
        first = session.next()
        session.submit(work.square, 3)
        second = session.next()
    assert (first.timing.ended, second.timing.submitted, second.timing.ended) == (2.0, 2.0, 4.0)


def test_failures_limits_cancel_and_leases():
    with Engine.virtual(lambda tag: tag, 2) as engine, engine.session() as session:
        key = engine.store.put(bytes(10_000))
        a, b = engine.store.address(), engine.store.address()
        session.submit(work.write_then, a, bytes(10_000), "raise", tag=1.0, uses=(key,), outputs=(a,))
        session.submit(work.write_then, b, bytes(10_000), "", tag=9.0, timeout_s=3.0, uses=(key,), outputs=(b,))
        number = session.submit(work.square, 1, tag=5.0)
        engine.store.release(key)
        done = [session.next()]
        session.cancel(number)
        done += [session.next(), session.next()]
        ends = [(c.failure.kind, c.timing.ended) for c in done]
        assert ends == [("raised", 1.0), ("cancelled", 1.0), ("timeout", 3.0)]
        assert engine.store.count() == 0


def test_people_are_heard_between_events():
    with Engine.virtual(lambda tag: 1.0, 1) as engine:
        session = engine.session()
        session.submit(work.square, 3)
        session.send("pause")
        session.send({"slider": 1})
        assert session.next() == {"slider": 1}
        assert session.next(timeout_s=0.05) is None
        session.send("resume")
        assert session.next().value == 9
        session.send("stop")
        with pytest.raises(Stopped):
            session.next()
        session.close()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_durations_that_make_no_sense(seconds):
    with Engine.virtual(lambda tag: seconds, 1) as engine, engine.session() as session:
        with pytest.raises(ValueError, match="finite number"):
            session.submit(work.square, 1)


def test_a_stop_does_not_wait_for_what_computes_on_the_inner_engine():
    with Engine.threads(1) as inner, Engine.virtual(lambda tag: 1.0, 2, inner) as engine, engine.session() as session:
        session.submit(work.sleep, 20)
        began = time.monotonic()
        threading.Timer(0.2, session.send, ("stop",)).start()
        with pytest.raises(Stopped):
            session.next()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("inner", [False, True])
def test_a_task_that_fails_is_tried_again(tmp_path, inner):
    threads = Engine.threads(1) if inner else None
    with Engine.virtual(lambda tag: 1.0, 1, threads) as engine, engine.session() as session:
        session.submit(work.fail_times, str(tmp_path), 2, retries=2)
        assert session.next().failure is None
    if threads is not None:
        threads.close()


def test_an_inner_engine_that_is_closed_is_an_error_not_a_wait():
    threads = Engine.threads(1)
    with Engine.virtual(lambda tag: 1.0, 1, threads) as engine, engine.session() as session:
        session.submit(work.sleep, 20)
        threading.Timer(0.2, threads.close).start()
        with pytest.raises(EngineError, match="was closed"):
            session.next()
