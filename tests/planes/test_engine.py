"""Engines end every task exactly once, whatever the task does."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid

import psutil
import pytest
import work
from work import collect

from scilab.planes import Engine, EngineError, Stopped, pool


def test_values_come_back_with_their_tags(engine):
    with engine.session() as session:
        numbers = [session.submit(work.square, x, tag=f"tag {x}") for x in range(50)]
        done = collect(session, 50)
    assert sorted((c.tag, c.value) for c in done) == sorted((f"tag {x}", x * x) for x in range(50))
    assert sorted(c.task for c in done) == sorted(numbers)
    assert all(c.ok and c.attempts == 1 and c.timing.submitted <= c.timing.started <= c.timing.ended for c in done)


@pytest.mark.parametrize(
    ("function", "error_type", "text"),
    [(work.poison, "Poison", "one"), (work.mute, "Mute", "its __str__ raised RuntimeError")],
)
def test_exceptions_that_cannot_travel_cost_one_task(engine, function, error_type, text):
    with engine.session() as session:
        session.submit(function)
        bad = session.next(60)
        session.submit(work.square, 7)
        assert session.next(60).value == 49
    assert (bad.failure.kind, bad.failure.error_type) == ("raised", error_type)
    assert text in bad.failure.message
    assert function.__name__ in bad.failure.traceback


@pytest.mark.parametrize("function", [work.generator, work.rotten])
def test_results_that_cannot_travel_say_so(processes, function):
    with processes.session() as session:
        session.submit(function)
        bad = session.next(60)
        session.submit(work.square, 7)
        assert session.next(60).value == 49
    assert bad.failure.kind == "unsendable"
    assert "return plain data" in bad.failure.message


def test_arguments_that_cannot_travel_say_so(processes):
    with processes.session() as session:
        session.submit(work.square, threading.Lock())
        bad = session.next(60)
    assert bad.failure.kind == "unsendable"
    assert "arguments" in bad.failure.message and "lock" in bad.failure.message


def test_classes_and_functions_of_a_notebook_travel_by_value(processes):
    scope = {"__name__": "__main__"}
    exec("class Local:\n    def __init__(self, x): self.x = x\n", scope)
    cls = scope["Local"]
    with processes.session() as session:
        session.submit(lambda made: made.x + 1, cls(41))
        assert session.next(60).value == 42


def test_a_large_closure_is_stored_once_and_evicted(processes):
    table = os.urandom(50_000)
    with processes.session() as session:
        for index in range(5):
            session.submit(lambda i: table[i], index)
        done = collect(session, 5)
        assert processes.store.count() == 1
        assert sorted(c.value for c in done) == sorted(table[:5])


def test_a_late_task_ends_as_timeout_and_the_engine_goes_on(engine):
    with engine.session() as session:
        session.submit(work.sleep, 20, timeout_s=0.3)
        session.submit(work.square, 3)
        done = collect(session, 2)
    kinds = {c.failure.kind if c.failure else "ok" for c in done}
    assert kinds == {"timeout", "ok"}


def test_a_task_deaf_to_signals_loses_its_process(processes):
    with processes.session() as session:
        session.submit(work.hang, timeout_s=0.3)
        late = session.next(60)
        session.submit(work.square, 3)
        assert session.next(60).value == 9
    assert late.failure.kind == "timeout"
    assert "work.py" in late.failure.traceback  # the stack where it hung


def test_retries_after_raising(engine, tmp_path):
    with engine.session() as session:
        session.submit(work.fail_times, str(tmp_path), 2, retries=2)
        good = session.next(60)
    assert (good.value, good.attempts) == (2, 3)
    for file in tmp_path.iterdir():
        file.unlink()
    with engine.session() as session:
        session.submit(work.fail_times, str(tmp_path), 2, retries=1)
        bad = session.next(60)
    assert (bad.failure.message, bad.attempts) == ("call 1", 2)


def test_a_dead_worker_is_tried_elsewhere_then_given_up(processes, tmp_path):
    with processes.session() as session:
        session.submit(work.die_once, str(tmp_path))
        assert (session.next(60).value, processes.state) == ("alive", "ready")
        session.submit(work.die)
        lost = session.next(60)
    assert (lost.failure.kind, lost.attempts) == ("lost", 2)


def test_costly_setup_is_made_once_a_worker_and_hits_are_counted(engine):
    with engine.session() as session:
        for _ in range(20):
            session.submit(work.use_cache, ("setup", engine.name))
        done = collect(session, 20)
        makers = {c.value[1] for c in done}
        assert len({c.value for c in done}) == len(makers)  # one object per process
        assert session.cache["misses"] == len(makers)
        assert session.cache["hits"] == 20 - len(makers)


def test_workers_use_one_openmp_thread(engine):
    import torch  # noqa: F401  (a kernel that trains has it; threads of it are told then)

    with engine.session() as session:
        session.submit(work.openmp)
        threads, variable = session.next(60).value
    assert threads == 1
    assert variable == "1" or engine.name.startswith("threads")


def test_pause_holds_the_backlog_and_resume_lets_it_go(engine):
    with engine.session() as session:
        for _ in range(12):
            session.submit(work.sleep, 0.05)
        session.next(60)
        session.send("pause")
        assert session.next(1.0) is None  # only people are heard while paused
        held = len(session.backlog)
        session.send({"slider": 3})
        assert session.next(5) == {"slider": 3}
        assert session.next(0.3) is None
        assert len(session.backlog) == held > 0
        session.send("resume")
        assert [c.value for c in collect(session, 11)] == [0.05] * 11


def test_stop_is_heard_while_tasks_run(engine):
    session = engine.session()
    for _ in range(4):
        session.submit(work.sleep, 0.8)
    threading.Timer(0.2, session.send, ("stop",)).start()
    with pytest.raises(Stopped):
        session.next(60)
    session.close()
    assert session.waiting == 0
    with engine.session() as other:  # the engine is free for others
        other.submit(work.square, 4)
        assert other.next(60).value == 16


def test_a_cancelled_task_frees_its_worker(processes):
    with processes.session() as session:
        running = session.submit(work.sleep, 60)
        while not processes.pool.doing() or not any(processes.pool.doing().values()):
            time.sleep(0.01)
        session.cancel(running)
        assert session.next(5).failure.kind == "cancelled"
        deaf = session.submit(work.hang)
        while not any(at and at[0] == deaf for at in processes.pool.doing().values()):
            time.sleep(0.01)
        session.cancel(deaf)
        assert session.next(5).failure.kind == "cancelled"
        for _ in range(4):
            session.submit(work.square, 2)
        assert [c.value for c in collect(session, 4)] == [4] * 4


def test_sessions_share_the_workers_in_turn():
    with Engine.threads(1) as engine:
        first, second = engine.session(), engine.session()
        for _ in range(10):
            first.submit(work.sleep, 0.01)
        second.submit(work.sleep, 0.01)
        done = second.next(60)
        assert done.ok and first.waiting > 5  # not behind the whole backlog of the first
        first.close()
        second.close()


def test_no_task_is_taken_after_close():
    engine = Engine.threads(1)
    session = engine.session()
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        session.submit(work.square, 1)
    with pytest.raises(EngineError, match="closed"):
        engine.session()


def test_close_ends_every_process():
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    engine = Engine.processes(2, gpus=0).wait_ready()
    with engine.session() as session:
        session.submit(work.pid)
        worker = session.next(60).value
        session.submit(work.hang)
        session.next(0.5)
    engine.close()

    def left():
        return [
            pid for pid in {p.pid for p in psutil.Process().children(recursive=True)} - before | {worker} if alive(pid)
        ]

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and left():
        time.sleep(0.05)
    assert left() == []


KERNEL = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import work
from scilab.planes import Engine
engine = Engine.processes(2, gpus=0).wait_ready()
session = engine.session()
for _ in range(2):
    session.submit(work.pid)
pids = [session.next().value for _ in range(2)]
session.submit(work.hang)
session.submit(work.sleep, 100)
import psutil
print(*[p.pid for p in psutil.Process().children(recursive=True)], *pids, flush=True)
time.sleep(100)
"""


def test_killing_the_kernel_leaves_no_process():
    mark = {"SCILAB_TEST_MARK": uuid.uuid4().hex}
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, os.path.dirname(__file__)], stdout=subprocess.PIPE, text=True,
        env=os.environ | mark,
    )  # fmt: skip
    # Those below the kernel, its workers, and whatever else inherited its environment.
    pids = {int(word) for word in kernel.stdout.readline().split()} | marked(mark["SCILAB_TEST_MARK"])
    assert len(pids) > 6
    kernel.kill()
    kernel.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(alive, pids)):
        time.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]


def marked(mark):
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SCILAB_TEST_MARK") == mark:
                found.add(process.pid)
    return found


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


INTERRUPTED = """
import os, signal, threading
from scilab.planes import Engine
signal.signal(signal.SIGINT, lambda *_: None)  # as a kernel outlives an interrupt
ready = threading.Event()
def interrupt():
    while not ready.wait(0.005):
        os.killpg(0, signal.SIGINT)
with Engine.processes(1) as engine, engine.session() as session:
    threading.Thread(target=interrupt, daemon=True).start()
    session.submit(abs, -3)
    done = session.next(60)
    ready.set()
    print(done.value, done.failure)
"""


def test_interrupts_while_the_workers_start_are_not_for_them():
    """They are sent to the kernel's whole process group, as Jupyter sends them."""
    command = [sys.executable, "-c", INTERRUPTED]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100, start_new_session=True)
    assert told.stdout.strip() == "3 None", told.stderr[-2000:]


def test_a_start_that_another_thread_disturbed_is_made_once_more(monkeypatch):
    began, start = [], pool.ThreadPool.start

    def disturbed(self):
        began.append(self)
        if len(began) == 1:
            self.executor = self.config().executors[0]  # as far as Parsl's own start had come
            raise RuntimeError("dictionary changed size during iteration")
        start(self)

    monkeypatch.setattr(pool.ThreadPool, "start", disturbed)
    with Engine.threads(1) as engine, engine.session() as session:
        session.submit(abs, -3)
        assert session.next(30).value == 3
    assert len(began) == 2
    assert "dictionary changed size" in (began[0].folder / "cannot-start.txt").read_text()

    def never(self):
        began.append(self)
        raise RuntimeError("no thread can be started")

    monkeypatch.setattr(pool.ThreadPool, "start", never)
    with Engine.threads(1) as engine, pytest.raises(EngineError, match="cannot start: no thread can be started"):
        engine.wait_ready()
    assert len(began) == 4
