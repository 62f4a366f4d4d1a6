"""What a user can get wrong gets its message: what was given, what is allowed, what to do."""

import sys

import pytest
import work
from parsl import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor

from scilab.planes import Engine, EngineError, Store, pool


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two"])
def test_a_number_of_workers_that_makes_no_sense(workers):
    with pytest.raises(ValueError, match="whole number"):
        Engine.threads(workers)


@pytest.mark.parametrize("name", ["thread", "processes:x", 7, None])
def test_an_engine_that_is_none(name):
    with pytest.raises(ValueError, match="threads"):
        Engine.named(name)


def test_named_engines():
    engine, owned = Engine.named("threads:3")
    assert (engine.workers, owned) == (3, True)
    assert Engine.named(engine) == (engine, False)
    engine.close()


def test_a_gpu_where_there_is_none(monkeypatch):
    monkeypatch.setattr(pool, "visible_gpus", list)
    with pytest.raises(ValueError, match="2 GPUs asked for, and torch sees 0 here; give gpus=0"):
        Engine.processes(2, gpus=2)


def test_gpus_are_dealt_out_one_a_worker(monkeypatch):
    monkeypatch.setattr(pool, "visible_gpus", lambda: ["0", "1"])
    with Engine.processes(4) as engine, engine.session() as session:
        for _ in range(40):
            session.submit(work.gpu)
        seen = {session.next(60).value[:2] for _ in range(40)}
    # By rank: a worker keeps its device, and two of four share each.
    assert seen <= {(str(rank % 2), str(rank)) for rank in range(4)}
    assert {device for device, _ in seen} == {"0", "1"}


def test_limits_that_make_no_sense():
    with Engine.threads(1) as engine, engine.session() as session:
        with pytest.raises(ValueError, match="timeout_s is 0"):
            session.submit(work.square, 1, timeout_s=0)
        with pytest.raises(ValueError, match="retries is -1"):
            session.submit(work.square, 1, retries=-1)


def test_an_engine_that_cannot_start_says_why_at_once(monkeypatch, tmp_path):
    # An environment whose interchange is broken: a Python without parsl.
    broken = tmp_path / "interchange.py"
    broken.write_text("raise SystemExit(7)\n")
    config = pool.ProcessPool.config

    def with_broken(self):
        made = config(self)
        made.executors[0].interchange_launch_cmd = [sys.executable, str(broken)]
        return made

    monkeypatch.setattr(pool.ProcessPool, "config", with_broken)
    engine = Engine.processes(1, gpus=0)
    session = engine.session()
    session.submit(work.square, 2)
    failed = session.next(30)
    assert failed.failure.kind == "engine"
    assert "cannot start" in failed.failure.message and "interchange" in failed.failure.message
    with pytest.raises(EngineError, match="exit status 7"):
        engine.wait_ready()
    engine.close()


def test_a_config_with_two_executors():
    two = Config(executors=[ThreadPoolExecutor(label="a"), ThreadPoolExecutor(label="b")])
    with pytest.raises(ValueError, match="2 executors"):
        Engine.parsl(two)


def test_any_parsl_config_runs(tmp_path):
    config = Config(
        executors=[HighThroughputExecutor(label="mine", max_workers_per_node=1, cores_per_worker=1e-6,
                                          address="127.0.0.1")],
        run_dir=str(tmp_path / "runs"), strategy="none", strategy_period=0.1, initialize_logging=False,
    )  # fmt: skip
    with Engine.parsl(config) as engine, engine.session() as session:
        assert engine.workers == 1
        for x in range(5):
            session.submit(lambda x: x * x, x)  # by value: these workers have our tests nowhere on their path
        assert sorted(session.next(60).value for _ in range(5)) == [0, 1, 4, 9, 16]


def test_a_redis_that_is_not_there():
    with pytest.raises(ValueError, match="redis-server --port 1"):
        Store.redis(port=1)


def test_a_local_store_cannot_be_reached_from_a_worker_process():
    local = Store.local()
    key = local.put(bytes(10_000))
    with Engine.processes(1, gpus=0) as engine, engine.session() as session:
        session.submit(work.double, key, local.address())
        failure = session.next(60).failure
    local.close()
    assert "memory of one process" in failure.message


def test_globus_without_its_sdk(monkeypatch):
    monkeypatch.setitem(sys.modules, "globus_compute_sdk", None)
    with pytest.raises(ValueError, match="pip install globus-compute-sdk"):
        Engine.globus("7b6c2d1e-0000", store=Store.local())
