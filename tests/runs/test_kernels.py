"""Several kernels on one journal, and kernels that die."""

import os
import sqlite3
import time

import pytest
from kernels import attempt, kernel, kill, walking
from test_run import ticks
from walk import Walk, bare, undisturbed

from scilab.runs import Journal, JournalError, Run
from scilab.runs.database import Database
from scilab.runs.liveness import LIVE, driver
from scilab.storage import liveness


def test_kernels_write_to_one_new_journal_at_once_and_lose_nothing(tmp_path):
    path = tmp_path / "shared.db"
    walks = [walking(path, steps=300, seed=seed, rest_every=50) for seed in range(4)]
    opened = [each.__enter__() for each in walks]
    try:
        ids = [pipe.recv() for _, pipe in opened]  # all four have opened the journal, none waited for another
        for _, pipe in opened:
            pipe.send("start")
        own = Run(Walk(steps=300, seed=4, rest_every=50), journal=Journal(path)).start()
        for _, pipe in opened:
            assert pipe.recv() in ("starting", "running")
            assert pipe.recv() == "finished"
        own.wait()
    finally:
        for each in walks:
            each.__exit__(None, None, None)
    journal = Journal(path)
    assert {run.id for run in journal.runs()} == {*ids, own.id}
    for seed, id in enumerate([*ids, own.id]):
        stored = journal.run(id)
        assert (stored.status, stored.count, stored.done) == ("finished", 306, 300)
        assert bare(stored.records()) == undisturbed(steps=300, seed=seed, rest_every=50)[0]
        assert [record["n"] for record in stored.records()] == list(range(1, 307))


def test_a_run_of_a_live_kernel_is_left_alone_and_one_of_a_dead_kernel_is_interrupted():
    journal = Journal()
    with walking(journal.path, manual=True) as (process, pipe):
        id = pipe.recv()
        pipe.send("start")
        assert pipe.recv() == "starting"
        stored = journal.run(id)
        assert (stored.status, stored.resumable) == ("starting", False)
        who = f"process {process.pid} on "
        assert stored.driver.startswith(who)
        with pytest.raises(JournalError, match=f"run {id} is being driven by {who}.*Stop it there first"):
            Run.resume(id, Walk())
        with pytest.raises(JournalError, match=f"run {id} is being driven by {who}.*Stop it there before deleting it"):
            journal.delete(id)
        assert journal.prune(keep=0) == []
        kill(process)
    stored = journal.run(id)
    assert (stored.status, stored.resumable, stored.driver) == ("interrupted", True, None)
    assert Run.resume(id, Walk()).start().wait().status == "finished"


def test_a_run_of_this_kernel_is_left_alone_by_another():
    journal = Journal()
    run = Run(Walk(manual=True)).start()
    for what in ("resume", "delete"):
        with kernel(attempt, journal.path, run.id, what) as (_, pipe):
            assert f"run {run.id} is being driven by process {os.getpid()} on " in pipe.recv()
    run.stop()
    with kernel(attempt, journal.path, run.id, "delete") as (_, pipe):
        assert pipe.recv() == "done"
    assert journal.runs() == []


def test_a_kernel_whose_run_was_taken_over_cannot_write_to_it():
    run = Run(Walk(manual=True)).start()
    with Journal().database.transaction() as execute:  # as another host does that saw no heartbeat
        execute("UPDATE runs SET claim = 'theirs', host = 'elsewhere/-/-'")
    run.capability.send({"go": 1})
    run.wait()
    assert run.status == "failed" and run.count == 0
    assert f"run {run.id} was deleted or resumed by another kernel" in run.error
    assert run.records() == [] and Journal().run(run.id).status == "starting"  # theirs, untouched


def test_only_a_run_under_way_has_a_driver():
    host, pid, born = liveness.this_process()
    liveness.held.add("mine")
    known = (*LIVE, "ready", "finished", "stopped", "failed", "interrupted")
    driven = [status for status in known if driver(status, host, pid, born, time.time(), "mine")]
    liveness.held.discard("mine")
    assert driven == ["starting", "running", "pausing", "paused", "stopping"]


def test_the_heartbeat_goes_on_while_the_capability_waits(monkeypatch):
    monkeypatch.setattr("scilab.runs.run.HEARTBEAT_S", 0.02)
    journal = Journal()
    run = Run(Walk(manual=True)).start()

    def heartbeat():
        return journal.database.read("SELECT heartbeat FROM runs")[0][0]

    first, deadline = heartbeat(), time.monotonic() + 20
    while heartbeat() <= first:
        assert time.monotonic() < deadline, "no heartbeat"
        time.sleep(0.01)
    run.stop()


def test_a_forked_child_is_refused():
    journal = Journal()
    Run(ticks(2)).start().wait()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for attempt in (journal.runs, Journal):
            try:
                attempt()
            except JournalError as error:
                said.append(str(error))
        os.write(write, "\n".join(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read().split("\n")
    os.waitpid(child, 0)
    assert len(said) == 2 and all("was opened before this process was forked" in text for text in said)
    assert journal.runs()[0].count == 2


def test_a_journal_that_another_kernel_is_just_making_is_no_strangers(tmp_path, monkeypatch):
    """Its tables may come at any moment of the look whether the file is a journal."""
    path, made, connect = tmp_path / "journal.db", [], sqlite3.connect

    def makes(statement):
        if "sqlite_master" not in statement or made:
            return
        made.append(statement)
        other = connect(path, 0.0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            Database.create_tables(other.execute)
            other.execute("COMMIT")
        except sqlite3.OperationalError as error:
            assert "locked" in str(error)
        other.close()

    def watched(*args, **given):
        connection = connect(*args, **given)
        connection.set_trace_callback(makes)
        return connection

    monkeypatch.setattr(sqlite3, "connect", watched)
    journal = Journal(path)
    assert made and journal.runs() == []
    journal.close()
