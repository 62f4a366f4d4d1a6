"""A campaign that simulates here and learns at another site, behind a link: with models by reference, or by value."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
from link import Link
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.providers import LocalProvider
from sites import free_port

from scilab.planes import INLINE_BYTES, Engine, Sites, Store
from scilab.steering import Batch, Campaign, Forest
from scilab.steering.records import CampaignStarted, Evaluated, Failed, Learned, Steered

CANDIDATES = 8 * 8192  # eight tasks of inference for each model
SPACE = [str(number) for number in range(CANDIDATES)]


def features(candidates):
    x = np.array([int(text) for text in candidates]) / CANDIDATES
    return np.stack([x, x**2, np.sin(40 * x), np.cos(40 * x), np.sin(300 * x)], axis=1).astype(np.float32)


def height(candidate):
    x = int(candidate) / CANDIDATES
    return float(np.sin(40 * x) + 0.5 * np.sin(300 * x) - (x - 0.6) ** 2)


def campaign(engine, sites=None):
    return Campaign(
        SPACE, height, budget=90, initial=30, retrain=30, policy=Batch(30), threshold=1.4, engine=engine, sites=sites,
        surrogate=Forest(trees=400, features=features), seed=3,
    )  # fmt: skip


def there(folder: Path, home: Path, link_latency_s: float, bandwidth_bps: float, stack: contextlib.ExitStack):
    """(A Parsl Config whose two workers stand at the other site, the link to them): tasks and results go through it."""
    port = free_port()
    link = stack.enter_context(Link(port, link_latency_s, bandwidth_bps))
    paths = os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])
    python = str(Path(sys.executable).parent)
    setup = [f"export PYTHONPATH={paths}", f"export PROXYSTORE_HOME={home}", "export OMP_NUM_THREADS=1",
             f"export PATH={python}:$PATH"]  # fmt: skip
    executor = HighThroughputExecutor(
        label="there", address="127.0.0.1", max_workers_per_node=2, cores_per_worker=1e-6, worker_port=port,
        launch_cmd=DEFAULT_LAUNCH_CMD.replace("--port={worker_port}", f"--port={link.port}"),
        provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init="\n".join(setup)),
    )  # fmt: skip
    config = Config(
        executors=[executor], strategy="none", strategy_period=0.1, run_dir=str(folder / "runinfo"),
        initialize_logging=False, usage_tracking=0, exit_mode="skip",
    )  # fmt: skip
    return config, link


def decided(records) -> list:
    """What was decided and found, without times and without the order of arrival within a batch."""
    told = []
    for record in records:
        if isinstance(record, Learned):
            told.append((record.version, record.samples, record.ranking, record.top))
        elif isinstance(record, CampaignStarted | Steered):
            told.append(record.ranking)
    values = sorted((r.candidate, r.value, r.model, r.predicted) for r in records if isinstance(r, Evaluated))
    return [*told, *values, *(r for r in records if isinstance(r, Failed))]


def run(folder: Path, homes: list, by_value: bool, latency_s: float = 0.0, bandwidth_bps: float = float("inf")) -> dict:
    """One campaign over two sites; PROXYSTORE_HOME must name the first. Returns what was decided and what went over
    the link, in bytes: of tasks and results as the link counted them, of the data plane as its readers did.
    """
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(
            Store.endpoint([identity for _, identity in homes], inline_bytes=2**40 if by_value else INLINE_BYTES)
        )
        config, link = there(folder, homes[1][0], latency_s, bandwidth_bps, stack)
        far = stack.enter_context(Engine.parsl(config, store=store)).wait_ready()
        near = stack.enter_context(Engine.threads(2, store=store))
        sites = stack.enter_context(Sites({"here": near, "there": far}))
        before = sum(link.sent)
        records = list(campaign(sites, {"simulate": "here", "learn": "there"}))
        learned = [record for record in records if isinstance(record, Learned)]
        read = store.bytes_by_edge()
        left = store.count()
        return {
            "decided": decided(records), "left": left, "versions": len(learned),
            "consumers_a_version": sum(task.what == "infer" for record in learned for task in record.tasks)
            / len(learned),
            "tasks_and_results_bytes": sum(link.sent) - before,
            # By reference models are written and read at the far site: only the space comes over.
            "data_plane_bytes": 0 if by_value else read.get("space", 0),
            "model_bytes": read.get("model", 0) / (2 * len(learned)) if not by_value else None,
            "learning_s": sum(record.tasks[-1].heard - record.tasks[0].submitted for record in learned),
        }  # fmt: skip
