"""Campaigns of real tasks on a real scheduler: nothing is lost, nothing is left."""

import cluster_work as work
import numpy as np
from one_node_slurm import collect, until

from scilab.planes import Engine, Store


def test_a_campaign_on_slurm_ends_every_task_once_and_leaves_nothing(slurm, on_slurm, tmp_path):
    model = {name: np.random.default_rng(seed).standard_normal((300, 300)) for seed, name in enumerate("ab")}
    store = Store.file(tmp_path)
    engine = Engine.parsl(on_slurm(), store=store)
    assert engine.workers == 2 and engine.store is store
    with engine.session("campaign") as session:
        numbers = {session.submit(work.square, x, tag=x): x for x in range(200)}
        met = [session.submit(work.meet, str(tmp_path), *both) for both in (("one", "two"), ("two", "one"))]
        raised = session.submit(work.fail)
        died = session.submit(work.die)
        late = session.submit(work.sleep, 60, timeout_s=0.5)
        deaf = session.submit(work.deaf, timeout_s=0.5)
        key = store.put(model, edge="down")
        addresses = {factor: store.address() for factor in range(2, 8)}
        scaled = {
            session.submit(work.scale, key, factor, address, uses=(key,), outputs=(address,)): factor
            for factor, address in addresses.items()
        }
        store.release(key)
        done = {completion.task: completion for completion in collect(session, 200 + 6 + len(scaled))}
        assert set(done) == {*numbers, *scaled, *met, raised, died, late, deaf}
        assert session.next(0.5) is None and session.waiting == 0

        jobs = {done[number].value[1] for number in numbers}
        assert jobs == {line.split()[0] for line in slurm.jobs()} and len(jobs) == 1
        assert {number: done[number].value[0] for number in numbers} == {n: x * x for n, x in numbers.items()}
        assert all(done[number].tag == x for number, x in numbers.items())
        (one, first), (two, second) = (done[number].value for number in met)
        assert one and two and first != second

        kinds = [(done[n].failure.kind, done[n].failure.error_type) for n in (raised, late, deaf)]
        assert kinds == [("raised", "ArithmeticError"), ("timeout", "TimeoutError"), ("timeout", "TimeoutError")]
        assert "not today" in done[raised].failure.message
        assert "deaf" in done[deaf].failure.traceback
        assert (done[died].failure.kind, done[died].attempts) == ("lost", 2)

        for number, factor in scaled.items():
            made = store.get(done[number].value)
            assert all(np.array_equal(made[name], factor * model[name]) for name in model)
            store.release(done[number].value)
        nbytes = store.bytes_by_edge()
        assert nbytes["up"] == len(scaled) * nbytes["down"]
        assert store.count() == 0
    engine.close()
    store.close()
    assert not list(tmp_path.glob("scilab-*/*")), "objects were left in the shared folder"
    assert until(lambda: slurm.jobs() == []), slurm.jobs()
    assert "JobState=CANCELLED" in slurm.run("scontrol", "show", "job", jobs.pop())
    assert until(lambda: slurm.inside_jobs() == []), slurm.inside_jobs()


def test_a_job_that_the_scheduler_takes_away_costs_no_task(slurm, on_slurm):
    engine = Engine.parsl(on_slurm(strategy="simple"))
    with engine, engine.session() as session:
        for x in range(40):
            session.submit(work.square, x, seconds=0.05, tag=x)
        done = collect(session, 10)
        slurm.run("scancel", done[0].value[1])
        done += collect(session, 30)
        assert sorted((c.tag, c.value[0]) for c in done) == [(x, x * x) for x in range(40)]
        assert len({c.value[1] for c in done}) == 2
        assert max(c.attempts for c in done) == 2
    assert until(lambda: slurm.jobs() == []), slurm.jobs()
