"""What is resumed is what was: the same records and the same bits, wherever the run was cut."""

import os
import random
import threading
import time

import pytest
import torch
from kernels import CONTEXT, kill, walking
from test_run import Gate, Tick, ticks, until
from walk import Walk, bare, undisturbed

from scilab.runs import Journal, JournalError, Run

SETTINGS = {"steps": 60, "seed": 7, "rest_every": 6}
CUTS = 20


def test_killed_at_random_points_nothing_committed_is_lost_and_the_resume_gives_the_same_bits():
    records, result = undisturbed(**SETTINGS)
    journal = Journal()
    chance = random.Random(0)
    for cut in chance.sample(range(len(records)), CUTS):
        heard, told = CONTEXT.Pipe(duplex=False)
        with heard, told, walking(journal.path, told, **SETTINGS) as (process, pipe):
            id = pipe.recv()
            pipe.send("start")
            told.close()
            acknowledged = sum(len(os.read(heard.fileno(), 1)) for _ in range(cut))
            time.sleep(chance.uniform(0, 0.002))  # anywhere in the next record or two
            kill(process)
            while more := os.read(heard.fileno(), 4096):
                acknowledged += len(more)
        stored = journal.run(id)
        kept = stored.records()
        assert stored.status == "interrupted"
        assert acknowledged <= stored.count == len(kept) <= acknowledged + 1
        assert bare(kept) == records[: len(kept)]
        run = Run.resume(id, Walk(**SETTINGS)).start().wait()
        assert (run.status, run.differences, bare(run.records()), run.result) == ("finished", [], records, result)
        numbers = [record["n"] for record in run.records()]
        assert numbers == sorted(set(numbers)) and (run.count, run.done) == (len(records), 60)


def test_stopped_and_resumed_at_every_record_gives_the_same_bits():
    records, result = undisturbed(steps=9, rest_every=2)
    for cut in range(9):
        walk = Walk(steps=9, rest_every=2, manual=True)
        run = Run(walk).start().command({"go": cut})
        until(lambda run=run, cut=cut: run.done == cut, f"{cut} steps")
        run.stop()
        again = Run.resume(run.id, Walk(steps=9, rest_every=2)).start().wait()
        kept = [record for record in bare(again.records()) if record["kind"] != "Command"]
        assert (again.status, kept, again.result) == ("finished", records, result)
        assert (again.id, again.created, again.name) == (run.id, run.created, run.name)
        assert Journal().run(run.id).progress["done"] == 9


def test_records_after_the_checkpoint_are_superseded_and_numbers_go_on():
    walk = Walk(steps=10, rest_every=4, manual=True)
    run = Run(walk).start().command({"go": 6})
    until(lambda: run.done == 6, "six steps")
    run.stop()
    assert [record["n"] for record in run.records()] == list(range(1, 9))  # command, 4 steps, rest, 2 steps
    elapsed = run.elapsed
    again = Run.resume(run.id, Walk(steps=10, rest_every=4))
    assert (again.status, again.count, again.records()) == ("ready", 0, [])
    again.start().wait()
    assert [record["n"] for record in again.records()] == [1, 2, 3, 4, 5, 6, *range(9, 16)]
    assert again.records(since=6)[0]["step"] == 5
    assert (again.count, again.done) == (13, 10)
    stored = Journal().run(run.id)
    assert (stored.count, stored.done, stored.status, stored.error) == (13, 10, "finished", None)
    # kept at the second run's last rest: after what the first had used by its own, before the whole
    assert 0 < Journal().database.read("SELECT elapsed FROM checkpoints")[0][0] <= again.elapsed
    assert elapsed > 0


def test_without_a_checkpoint_it_begins_again():
    gate = Gate()
    run = Run(gate).start()
    gate.open()
    until(lambda: run.count == 1, "a record")
    run.stop(wait=False)
    gate.open()
    run.wait()
    assert [record["n"] for record in run.records()] == [1, 2]

    class Three:
        kind = "Gate"

        def __iter__(self):
            return iter([Tick(10), Tick(11), Tick(12)])

    again = Run.resume(run.id, Three()).start().wait()
    assert [(record["n"], record["number"]) for record in again.records()] == [(3, 10), (4, 11), (5, 12)]
    assert again.progress["done"] == 3


def test_a_failed_run_can_be_resumed_and_its_error_goes():
    class Falling(Walk):
        def __iter__(self):
            for record in super().__iter__():
                yield record
                if self.step == 7:
                    raise ValueError("fell")

    run = Run(Falling(steps=10)).start().wait()
    assert run.status == "failed"
    again = Run.resume(run.id, Walk(steps=10)).start().wait()
    assert (again.status, again.error, Journal().run(run.id).error) == ("finished", None, None)
    assert (bare(again.records()), again.result) == undisturbed(steps=10)


def test_differing_settings_are_listed_and_kept_from_then_on():
    run = Run(Walk(steps=10, manual=True)).start().stop()
    again = Run.resume(run.id, Walk(steps=12, rest_every=3))
    assert again.differences == [("steps", 10, 12), ("rest.every", 5, 3)]
    assert Journal().run(run.id).settings["steps"] == 10
    again.start().wait()
    assert Journal().run(run.id).settings == {"steps": 12, "seed": 0, "rest": {"every": 3}}
    assert Journal().run(run.id).total == 12


def test_what_cannot_be_resumed_says_why():
    finished = Run(ticks(1)).start().wait()
    with pytest.raises(JournalError, match=f"run {finished.id} has finished; there is nothing left to do"):
        Run.resume(finished.id, ticks(1))
    with pytest.raises(JournalError, match="there is no run 'abc'"):
        Run.resume("abc", ticks(1))
    run = Run(Walk(manual=True)).start()
    with pytest.raises(JournalError, match=rf"is being driven by process {os.getpid()} on .*Stop it there first"):
        Run.resume(run.id, Walk())
    run.stop()
    with pytest.raises(JournalError, match=f"run {run.id} is a walk, and cannot be resumed by a ticks"):
        Run.resume(run.id, ticks(1))


def test_a_state_that_does_not_fit_leaves_everything_as_it_was():
    walk = Walk(steps=10, manual=True)
    run = Run(walk).start().command({"go": 7})
    until(lambda: run.done == 7, "seven steps")
    run.stop()
    before = run.records()
    with pytest.raises(RuntimeError, match="size of tensor"):
        Run.resume(run.id, Walk(steps=11)).start()
    stored = Journal().run(run.id)
    assert (stored.status, stored.records(), stored.settings["steps"]) == ("stopped", before, 10)
    stateless = Gate()
    stateless.kind = "walk"
    with pytest.raises(JournalError, match=r"has a checkpoint, and this walk has no load_state_dict\(\)"):
        Run.resume(run.id, stateless).start()
    assert Run.resume(run.id, Walk(steps=10)).start().wait().status == "finished"


class Malice:
    def __reduce__(self):
        return print, ("malice ran",)


def test_a_checkpoint_that_would_run_code_is_refused(capsys, tmp_path):
    run = Run(Walk(steps=10, manual=True)).start().command({"go": 5})
    until(lambda: run.count == 7, "a checkpoint")
    run.stop()
    torch.save({"step": Malice()}, tmp_path / "state")
    with Journal().database.transaction() as execute:
        execute("UPDATE checkpoints SET state = ?", ((tmp_path / "state").read_bytes(),))
    with pytest.raises(ValueError, match="the checkpoint is damaged or not safe to read"):
        Run.resume(run.id, Walk(steps=10)).start()
    assert "malice" not in capsys.readouterr().out


def test_only_one_of_two_resumes_gets_the_run():
    run = Run(Walk(manual=True)).start().stop()
    first, second = Run.resume(run.id, Walk(manual=True)), Run.resume(run.id, Walk(manual=True))
    outcomes, barrier = [], threading.Barrier(2)

    def start(run):
        barrier.wait()
        try:
            run.start()
        except JournalError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=start, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1 and "is being driven by process" in outcomes[0]
    assert sorted([first.status, second.status]) == ["ready", "starting"]
    first.stop()
    second.stop()


def test_only_the_latest_checkpoint_is_kept():
    run = Run(Walk(steps=20, rest_every=2)).start().wait()
    rows = Journal().database.read("SELECT n, count, done FROM checkpoints")
    assert rows == [(30, 30, 20)] and run.count == 30
