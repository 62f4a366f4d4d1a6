"""A run from ready to its end: what it records, what commands do to it, what a failure leaves."""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from walk import Walk, bare, undisturbed

from scilab.runs import Journal, Run


@dataclass(frozen=True)
class Tick:
    number: float
    advances: ClassVar[bool] = True


def ticks(count):
    for number in range(count):
        yield Tick(number)


class Gate:
    """A plain iterator that lets one record through for each open()."""

    def __init__(self):
        self.permits, self.closed = threading.Semaphore(0), 0

    def __iter__(self):
        for number in range(1000):
            self.permits.acquire()
            yield Tick(number)

    def open(self):
        self.permits.release()

    def close(self):
        self.closed += 1


def until(condition, what):
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        time.sleep(0.005)


def test_a_run_records_what_a_loop_yields():
    records, result = undisturbed(steps=12)
    run = Run(Walk(steps=12), name="first", notes="a note").start().wait()
    assert bare(run.records()) == records
    assert [record["n"] for record in run.records()] == list(range(1, len(records) + 1))
    assert run.result == result
    assert (run.status, run.error, run.count, run.done, run.capability.closed) == ("finished", None, 14, 12, 1)
    stored = Journal().run(run.id)
    for field in (
        "id",
        "name",
        "notes",
        "kind",
        "settings",
        "created",
        "recorded",
        "status",
        "error",
        "count",
        "progress",
    ):
        assert getattr(stored, field) == getattr(run, field), field
    assert stored.records() == run.records()
    assert (stored.name, stored.notes, stored.kind) == ("first", "a note", "walk")
    assert stored.settings == {"steps": 12, "seed": 0, "rest": {"every": 5}}


def test_records_since_returns_only_what_is_new():
    run = Run(ticks(50)).start().wait()
    assert [record["number"] for record in run.records(since=47)] == [47, 48, 49]
    assert run.records(since=50) == []
    times = [record["t"] for record in run.records()]
    assert times == sorted(times) and abs(times[-1] - time.time()) < 60


def test_a_record_is_committed_before_the_capability_goes_on_and_before_a_subscriber_sees_it():
    seen = []

    def watching():
        for number in range(5):
            yield Tick(number)
            seen.append(("capability", number, len(Journal().run(run.id).records())))

    run = Run(watching())
    run.subscribe(lambda run: seen.append(("subscriber", run.count, len(Journal().run(run.id).records()))))
    run.start().wait()
    assert [entry for entry in seen if entry[0] == "capability"] == [("capability", n, n + 1) for n in range(5)]
    assert {(count, stored) for who, count, stored in seen if who == "subscriber"} == {(n, n) for n in range(6)}


def test_a_generator_function_names_its_kind():
    run = Run(ticks(1))
    assert (run.kind, run.settings, run.total, run.status) == ("ticks", {}, None, "ready")
    assert run.name.startswith("ticks ")


def test_progress_knows_done_total_rate_and_what_remains():
    walk = Walk(steps=10, rest_every=0, manual=True)
    run = Run(walk)
    assert run.progress == {"done": 0, "total": 10, "rate_per_s": None, "remaining_s": None, "elapsed_s": 0.0}
    run.start().command({"go": 4})
    until(lambda: run.done == 4, "four steps")
    progress = run.progress
    assert progress["rate_per_s"] == pytest.approx(4 / progress["elapsed_s"])
    assert progress["remaining_s"] == pytest.approx(6 / progress["rate_per_s"])
    run.stop()
    assert run.progress["remaining_s"] is None and run.progress["done"] == 4
    finished = Run(Walk(steps=3)).start().wait()
    assert finished.progress["remaining_s"] == 0.0


def test_elapsed_stands_still_while_paused():
    gate = Gate()
    run = Run(gate).start()
    gate.open()
    until(lambda: run.count == 1, "a record")
    run.pause()
    gate.open()
    until(lambda: run.status == "paused", "paused")
    before = run.elapsed
    time.sleep(0.05)
    assert run.elapsed == before == Journal().run(run.id).elapsed
    run.unpause()
    until(lambda: run.elapsed > before, "going on")
    run.stop(wait=False)
    gate.open()
    run.wait()


def test_status_is_starting_until_the_first_record():
    gate = Gate()
    run = Run(gate).start()
    assert (run.status, Journal().run(run.id).status) == ("starting", "starting")
    gate.open()
    until(lambda: run.status == "running", "running")
    assert Journal().run(run.id).status == "running"
    run.stop(wait=False)
    gate.open()
    assert run.wait().status == "stopped"


def test_stop_acts_while_a_task_runs():
    walk = Walk(manual=True)
    run = Run(walk).start().command({"go": 3})
    until(lambda: run.done == 3, "three steps")
    states = []
    run.subscribe(lambda run: states.append(run.status))
    run.stop()
    assert (run.status, states, walk.heard[-1], walk.closed) == ("stopped", ["stopping", "stopped"], "stop", 1)
    assert run.resumable and Journal().run(run.id).resumable


def test_pause_and_unpause_act_while_a_task_runs():
    walk = Walk(manual=True)
    run = Run(walk).start().command({"go": 3})
    until(lambda: run.done == 3, "three steps")
    states = []
    run.subscribe(lambda run: states.append((run.status, Journal().run(run.id).status)))
    run.pause()
    assert run.status == "pausing"
    until(lambda: run.status == "paused", "paused")
    run.command({"go": 2})
    until(lambda: len(walk.heard) == 3, "hearing the command")
    until(lambda: len(states) >= 3, "telling of the command")
    assert run.done == 3
    run.unpause()
    until(lambda: run.done == 5, "two more steps")
    both = [("pausing", "pausing"), ("paused", "paused"), ("paused", "paused"), ("running", "running")]
    assert states[:4] == both
    assert run.stop().status == "stopped"


def test_a_plain_iterator_pauses_and_stops_between_records():
    gate = Gate()
    run = Run(gate).start()
    gate.open()
    until(lambda: run.count == 1, "a record")
    run.pause()
    assert run.status == "pausing"
    gate.open()
    gate.open()
    until(lambda: run.status == "paused", "paused")
    assert run.count == 2  # the record under way when it was told to pause; the third waits
    run.unpause()
    until(lambda: run.count == 3, "the third record")
    run.stop(wait=False)
    assert run.status == "stopping"
    gate.open()
    assert (run.wait().status, run.count, gate.closed) == ("stopped", 4, 1)


def test_a_paused_plain_iterator_can_be_stopped():
    gate = Gate()
    run = Run(gate).start().pause()
    gate.open()
    until(lambda: run.status == "paused", "paused")
    assert run.stop().status == "stopped"


def test_a_generator_is_closed_on_stop():
    ended = []

    def endless():
        try:
            while True:
                yield Tick(0)
        finally:
            ended.append(True)

    run = Run(endless()).start()
    assert run.stop().status == "stopped" and ended == [True]


def test_a_capability_that_ignores_stop_is_cut_off(monkeypatch):
    monkeypatch.setattr("scilab.runs.run.STOP_GRACE_S", 0.05)

    class Deaf:
        closed = 0

        def __iter__(self):
            while True:
                yield Tick(0)

        def send(self, command):
            pass

        def close(self):
            self.closed += 1

    run = Run(Deaf()).start()
    assert run.stop().status == "stopped" and run.capability.closed == 1


def test_a_run_whose_work_is_done_when_stop_comes_is_finished():
    class Late(Walk):
        def __iter__(self):
            yield from super().__iter__()
            self.inbox.get()

    run = Run(Late(steps=3)).start()
    until(lambda: run.done == 3, "all steps")
    assert run.stop().status == "finished"


def test_asking_at_the_wrong_time_does_nothing():
    run = Run(ticks(2))
    for ask in (run.pause, run.unpause, run.stop):
        assert ask().status == "ready"
    with pytest.raises(RuntimeError, match="was not started"):
        run.wait()
    run.start().wait()
    for ask in (run.pause, run.unpause, run.stop):
        assert ask().status == "finished"
    run.close()
    with pytest.raises(RuntimeError, match="started before"):
        run.start()


def test_an_exception_fails_the_run_with_its_whole_traceback():
    def failing():
        yield Tick(1)
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("a wrong turn") from error

    run = Run(failing()).start().wait()
    assert run.status == "failed" and run.resumable
    for part in (
        "KeyError: 'inner'",
        "The above exception was the direct cause",
        "in failing",
        "ValueError: a wrong turn",
    ):
        assert part in run.error
    assert Journal().run(run.id).error == run.error
    assert bare(run.records()) == [{"kind": "Tick", "number": 1}]
    with pytest.raises(RuntimeError, match="failed: ValueError: a wrong turn") as caught:
        _ = run.result
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_that_is_no_proper_text_is_kept_all_the_same():
    def failing():
        yield Tick(1)
        raise OSError("no file 'm\udcfcll.csv'")

    run = Run(failing()).start().wait()
    assert run.status == "failed" and "no file 'm\\udcfcll.csv'" in run.error
    assert Journal().run(run.id).error == run.error


def test_what_close_raises_is_shown():
    class Stuck(Walk):
        def close(self):
            raise OSError("the pool does not answer")

    run = Run(Stuck(steps=3)).start().wait()
    assert (run.status, run.done) == ("failed", 3)
    assert "OSError: the pool does not answer" in run.error


def test_a_record_that_is_not_json_fails_the_run_and_names_the_field():
    def wrong():
        yield Tick(1)
        yield Tick(np.zeros(3))

    run = Run(wrong()).start().wait()
    assert run.status == "failed" and run.count == 1
    assert "TypeError: Tick.number is a ndarray of shape (3,)" in run.error


def test_a_state_that_could_not_be_read_again_fails_at_the_first_checkpoint():
    class Careless(Walk):
        def state_dict(self):
            return {"model": Walk}  # can be pickled, but not read as plain data

    run = Run(Careless(steps=10)).start().wait()
    assert run.status == "failed" and run.done == 5
    assert "state_dict() cannot be kept" in run.error
    assert [record["kind"] for record in run.records()] == ["Stepped"] * 5


def test_commands_are_journalled_in_order_with_what_they_cause():
    run = Run(Walk(steps=3, rest_every=0, manual=True)).start()
    run.command({"go": 1})
    until(lambda: run.done == 1, "a step")
    with pytest.raises(ValueError, match="no command of a walk"):
        run.command({"fly": 1})
    run.command({"go": np.int64(2).item()}).wait()
    kinds = [record["kind"] for record in run.records()]
    assert kinds == ["Command", "Stepped", "Command", "Stepped", "Stepped"]
    assert run.records()[2]["command"] == {"go": 2}
    with pytest.raises(RuntimeError, match="is finished: commands are for a run under way"):
        run.command({"go": 1})
    with pytest.raises(TypeError, match="cannot be sent to a ticks"):
        Run(ticks(1)).start().command({"go": 1})
    with pytest.raises(TypeError, match="a command is a dict"):
        run.command("stop")


def test_a_subscriber_that_raises_is_kept_and_the_run_goes_on():
    def wrong(run):
        raise LookupError("no such chart")

    run = Run(ticks(3))
    run.subscribe(wrong)
    run.start().wait()
    assert (run.status, run.count) == ("finished", 3)
    assert "LookupError: no such chart" in run.subscriber_error and "in wrong" in run.subscriber_error


def test_unsubscribe_ends_the_calls():
    calls = []
    gate = Gate()
    run = Run(gate)
    unsubscribe = run.subscribe(lambda run: calls.append(run.count))
    run.start()
    gate.open()
    until(lambda: run.count == 1, "a record")
    unsubscribe()
    unsubscribe()
    run.stop(wait=False)
    gate.open()
    run.wait()
    assert calls == [0, 1]


def test_a_subscriber_cannot_wait_for_its_own_run():
    run = Run(ticks(1))
    run.subscribe(lambda run: run.wait())
    run.start()
    run.wait()
    assert "a subscriber cannot wait for the run that called it" in run.subscriber_error


def test_wait_returns_when_its_time_is_over():
    gate = Gate()
    run = Run(gate).start()
    assert run.wait(timeout_s=0.05) is run and run.status == "starting"
    run.stop(wait=False)
    gate.open()
    assert run.wait(timeout_s=20).status == "stopped"


def test_what_cannot_be_driven_is_refused():
    with pytest.raises(TypeError, match="a int cannot be run"):
        Run(3)
    walk = Walk()
    walk.settings = {"model": object()}
    with pytest.raises(TypeError, match=r"settings\['model'\] is a object"):
        Run(walk)


def test_an_interrupt_ends_the_wait_and_not_the_run():
    # In a process of its own: the signal must meet the main thread inside wait().
    script = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from walk import Walk
from scilab.runs import Run
run = Run(Walk(steps=4, rest_every=0, manual=True)).start()
for moment in range(3):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        run.wait()
    except KeyboardInterrupt:
        print("interrupted", run.status, run.done)
    run.command({"go": 1})
    while run.done <= moment:
        time.sleep(0.005)
print(run.command({"go": 1}).wait().status, run.done)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, __file__.rsplit("/", 1)[0]], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split("\n") == [
        "interrupted starting 0", "interrupted running 1", "interrupted running 2", "finished 4", "",
    ], done.stderr  # fmt: skip


def test_an_interpreter_that_exits_lets_the_capability_close():
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from walk import Walk
from scilab.runs import Run
class Loud(Walk):
    def close(self):
        print("closed", flush=True)
print(Run(Loud(manual=True)).start().id, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, __file__.rsplit("/", 1)[0]], capture_output=True, text=True, timeout=60
    )
    id, closed = done.stdout.split()
    assert (closed, done.returncode, done.stderr) == ("closed", 0, "")
    stored = Journal().run(id)
    assert (stored.status, stored.resumable) == ("interrupted", True)


def test_names_and_notes_changed_in_the_journal_show_in_the_run():
    run = Run(ticks(1), name="before").start().wait()
    journal = Journal()
    journal.rename(run.id, "after")
    journal.note(run.id, "seen")
    assert (run.name, run.notes) == ("after", "seen")
    assert repr(run) == f"<Run {run.id} 'after': ticks, finished, 1 done>"
    journal.delete(run.id)
    assert run.name == "after" and run.records() == []
