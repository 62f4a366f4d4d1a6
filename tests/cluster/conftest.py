"""A Slurm of one node for the tests of this folder, which are collected only where it can be started."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Both this process and the cluster's workers import the helpers beside the tests by their plain names.
sys.path.insert(0, str(HERE))

import one_node_slurm  # noqa: E402

_missing = one_node_slurm.missing() or ([] if os.geteuid() == 0 else ["root's rights"])
collect_ignore_glob = ["test_*.py"] if _missing else []


def pytest_terminal_summary(terminalreporter):
    """Say what did not run and why, so that nobody takes silence for a pass."""
    if _missing:
        terminalreporter.write_line(f"not run: tests/cluster, which needs {', '.join(_missing)}", yellow=True)


@pytest.fixture(scope="module")
def slurm():
    with one_node_slurm.OneNodeSlurm() as cluster:
        yield cluster


@pytest.fixture
def on_slurm(slurm, monkeypatch, tmp_path):
    """Makes a Parsl Config for this cluster as a user would write it; Slurm's commands find the cluster."""
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import SlurmProvider

    class Attentive(SlurmProvider):
        """Asks Slurm about its jobs every half second; Parsl's own minute is for clusters that others use too."""

        status_polling_interval = 0.5

    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    paths = os.pathsep.join(path for path in sys.path if path)

    def config(strategy="none", **provider):
        options = {
            "partition": slurm.partition, "walltime": "00:05:00", "exclusive": False,
            "worker_init": f"export PYTHONPATH={paths}", **provider,
        }  # fmt: skip
        executor = HighThroughputExecutor(
            label="slurm",
            address="127.0.0.1",
            max_workers_per_node=2,
            cores_per_worker=1e-6,
            heartbeat_period=1,
            heartbeat_threshold=8,
            worker_logdir_root=str(tmp_path / "logs"),
            provider=Attentive(init_blocks=1, min_blocks=1, max_blocks=1, **options),
        )
        return Config(
            executors=[executor], strategy=strategy, strategy_period=0.2, run_dir=str(tmp_path / "runinfo"),
            initialize_logging=False, usage_tracking=0, exit_mode="skip",
        )  # fmt: skip

    return config
