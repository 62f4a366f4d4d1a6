"""Several engines in one line: tasks run where they say, and pause, stop and failures are those of one engine."""

import os
import threading

import pytest
import work

from scilab.planes import Engine, Sites, Stopped, Store, get


@pytest.fixture
def sites(tmp_path):
    with Store.file(tmp_path) as store, Engine.threads(1, store) as near, Engine.processes(1, store=store) as far:
        yield Sites({"near": near, "far": far})


def collect(session, count):
    return [session.next(60) for _ in range(count)]


def test_tasks_run_where_they_say_over_one_data_plane(sites):
    assert sites.workers == 2
    with sites.session() as session:
        places = {session.submit(work.pid, at=at): at for at in ("near", "far", None, "near", "far")}
        done = {completion.task: completion for completion in collect(session, 5)}
        for number, at in places.items():
            assert (done[number].value == os.getpid()) == (at != "far")
        key = sites.store.put({"a": [1, 2]})
        for at in ("near", "far"):
            session.submit(get, key, at=at, uses=(key,))
        sites.store.release(key)
        assert [completion.value for completion in collect(session, 2)] == [{"a": [1, 2]}] * 2
        assert session.waiting == 0 and sites.store.count() == 0
        with pytest.raises(ValueError, match="there is no site 'moon'; there are near, far"):
            session.submit(work.pid, at="moon")


def test_a_failure_at_one_site_is_a_failure_of_its_task(sites):
    with sites.session() as session:
        died, fine = session.submit(work.die, at="far"), session.submit(work.square, 3, at="near")
        done = {completion.task: completion for completion in collect(session, 2)}
        assert done[died].failure.kind == "lost" and done[fine].value == 9


def test_pause_and_stop_hold_everywhere(sites):
    with sites.session() as session:
        session.submit(work.square, 1, at="far")
        collect(session, 1)
        session.send("pause")
        numbers = {session.submit(work.square, x, at=at): x for x, at in ((2, "near"), (3, "far"))}
        assert session.next(0.3) is None and session.waiting == 2
        session.send("resume")
        assert {c.task: c.value for c in collect(session, 2)} == {n: x * x for n, x in numbers.items()}
        session.submit(work.sleep, 60, at="far")
        waiting = session.submit(work.sleep, 0.5, at="near")
        session.cancel(waiting)
        assert session.next(10).failure.kind == "cancelled"
        threading.Timer(0.1, session.send, ("stop",)).start()
        with pytest.raises(Stopped):
            session.next(30)


def test_sites_need_one_store(tmp_path):
    with Engine.threads(1) as one, Engine.threads(1) as two:
        with pytest.raises(ValueError, match="sites 'a' and 'b' have data planes of their own; make one Store"):
            Sites({"a": one, "b": two})
    with Engine.virtual(lambda tag: 0.0) as simulated:
        with pytest.raises(ValueError, match="sites must be one or more engines by name, not simulated ones"):
            Sites({"a": simulated})
    with pytest.raises(ValueError, match="sites must be one or more engines by name, not simulated ones, got {}"):
        Sites({})
