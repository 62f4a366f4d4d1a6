"""What schedulers do to people: long queues, jobs taken away, requests refused. None of it may cost a task unsaid."""

import cluster_work as work
import pytest
from one_node_slurm import PATIENCE_S, collect, until

from scilab.planes import Engine, EngineError


@pytest.mark.slow
def test_waiting_in_the_queue_harms_nothing(slurm, on_slurm):
    engine = Engine.parsl(on_slurm(strategy="simple"))
    with engine, engine.session() as session:
        session.submit(work.square, 3)
        (first,) = collect(session, 1)
        # The job goes while its workers are idle, and the next one has to wait: nothing is heard for a long while.
        slurm.run("scontrol", "update", f"NodeName={slurm.host}", "State=DRAIN", "Reason=test")
        try:
            slurm.run("scancel", first.value[1])
            assert until(lambda: slurm.jobs() == []), slurm.jobs()
            for x in range(4):
                session.submit(work.square, x, tag=x)
            assert session.next(12.0) is None
            assert [line.split()[1] for line in slurm.jobs()] == ["PENDING"]
        finally:
            slurm.run("scontrol", "update", f"NodeName={slurm.host}", "State=RESUME")
        done = collect(session, 4)
        assert sorted((c.tag, c.value[0]) for c in done) == [(x, x * x) for x in range(4)]
        assert first.value[1] not in {c.value[1] for c in done}


@pytest.mark.slow
def test_being_moved_again_and_again_is_not_held_against_a_task(slurm, on_slurm, tmp_path):
    engine = Engine.parsl(on_slurm(strategy="simple"))
    with engine, engine.session() as session:
        for x in range(2):
            session.submit(work.beat, str(tmp_path), x, 5.0)
        for times in (1, 2):
            assert until(lambda n=2 * times: len(list(tmp_path.glob("begun-*"))) == n, PATIENCE_S)
            slurm.run("scancel", "--user=root")
        done = collect(session, 2)
        assert [(c.failure, c.attempts) for c in done] == [(None, 3)] * 2


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"worker_init": "echo no module named chemistry >&2; exit 3"}, "no module named chemistry"),
    ],
)
def test_a_job_that_cannot_start_says_so_in_slurms_own_words(slurm, on_slurm, mistake, words):
    engine = Engine.parsl(on_slurm(strategy="simple", **mistake))
    with engine, engine.session() as session:
        number = session.submit(work.square, 2)
        (done,) = collect(session, 1)
        assert (done.task, done.failure.kind, done.attempts) == (number, "engine", 1)
        assert words in done.failure.message and words in engine.error
        assert "make a new engine" in engine.error
        with pytest.raises(EngineError, match="make a new engine"):
            session.submit(work.square, 3)
    assert until(lambda: slurm.jobs() == []), slurm.jobs()


def test_a_lost_job_that_nobody_replaces_ends_the_engine_with_advice(slurm, on_slurm):
    engine = Engine.parsl(on_slurm(strategy="none"))
    with engine, engine.session() as session:
        session.submit(work.square, 3)
        (first,) = collect(session, 1)
        slurm.run("scancel", first.value[1])
        assert until(lambda: engine.state == "failed"), engine
        with pytest.raises(EngineError, match="strategy='simple'"):
            session.submit(work.square, 4)
