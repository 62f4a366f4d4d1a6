"""Data planes that other machines can reach; each test file is collected only where its servers can be started."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Both this process and its workers import the helpers beside the tests by their plain names.
sys.path.insert(0, str(HERE))

import sites  # noqa: E402

_missing = {
    "test_redis.py": sites.missing_for_redis(),
    "test_endpoint.py": sites.missing_for_endpoints(),
    "test_steered_sites.py": sites.missing_for_endpoints(),
}
collect_ignore = [name for name, what in _missing.items() if what]


def pytest_terminal_summary(terminalreporter):
    """Say what did not run and why, so that nobody takes silence for a pass."""
    for name, what in _missing.items():
        if what:
            terminalreporter.write_line(f"not run: tests/endpoints/{name}, which needs {', '.join(what)}", yellow=True)


@pytest.fixture
def workers(tmp_path):
    """Makes an engine of two worker processes over a given store; with ``lines`` of shell before they start, as a
    Parsl Config has them.
    """
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    from scilab.planes import Engine

    paths = os.pathsep.join(path for path in sys.path if path)
    made = []

    def config(*lines):
        executor = HighThroughputExecutor(
            label=f"site{len(made)}",
            address="127.0.0.1",
            max_workers_per_node=2,
            cores_per_worker=1e-6,
            heartbeat_period=1,
            heartbeat_threshold=4,
            provider=LocalProvider(
                init_blocks=1, max_blocks=1, worker_init="\n".join([f"export PYTHONPATH={paths}", *lines])
            ),
        )
        return Config(
            executors=[executor], strategy="none", strategy_period=0.1, run_dir=str(tmp_path / "runinfo"),
            initialize_logging=False, usage_tracking=0, exit_mode="skip",
        )  # fmt: skip

    def engine(store, *lines):
        made.append(Engine.parsl(config(*lines), store=store) if lines else Engine.processes(2, 0, store))
        return made[-1]

    yield engine
    for each in made:
        each.close()
        each.store.close()
