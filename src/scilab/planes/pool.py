"""The Parsl side of an engine: a private DataFlowKernel over threads, local processes or any Parsl ``Config``.

Private, because ``parsl.load`` is one per process and never cleans up; each engine owns its kernel and closes it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from . import worker
from .scratch import scratch_folder
from .store import Store
from .tasks import EngineError, Task

HERE = Path(__file__).parent
SPARE_THREADS = 64
"""A thread stuck in a late task cannot be ended; each is replaced by a spare, up to so many."""


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """For processes that this thread starts: an interrupt of the kernel is for its whole process group, to which they
    belong until `supervisor` takes them out of it, and lets them have interrupts again.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """CUDA devices by index, empty where there is none; does not initialise CUDA (forks must stay possible)."""
    # Importing torch takes a second of CPU: not for a machine without a driver (Nvidia's, WSL's, AMD's).
    if "torch" not in sys.modules and not any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))):
        return []
    with contextlib.suppress(ImportError):
        import torch

        return [str(index) for index in range(torch.cuda.device_count())]
    return []


def bounded_torch() -> None:
    """Keep the kernel's own OpenMP within the cores it may use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())


class Pool:
    """Starts, feeds and ends one DataFlowKernel. ``processes`` says whether tasks leave this process."""

    processes = True
    restartable = True
    answered = False
    executor: Any = None

    def __init__(self, workers: int, given: Store | None = None) -> None:
        self.workers = workers
        self.capacity = workers
        self.given = given
        """The data plane that the user gave: it is used, and left open for its owner to close."""
        self.folder = scratch_folder()
        self.kernel: Any = None
        self._sending = threading.Lock()

    def config(self) -> Any:
        raise EngineError("this pool has no configuration")

    def store(self) -> Store:
        return self.given or self.own_store()

    def own_store(self) -> Store:
        return Store.file()

    def start(self) -> None:
        """Start Parsl; returns when it can take tasks. Raises what Parsl raises."""
        import parsl

        # Parsl starts its programs by name: an environment that is used without being activated is not on PATH.
        here = str(Path(sys.executable).parent)
        if here not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = here + os.pathsep + os.environ.get("PATH", "")
        config = self.config()
        self.executor = config.executors[0]
        with interrupts_held():
            self.kernel = parsl.DataFlowKernel(config)

    def send(self, task: Task) -> Future:
        if not self.processes:
            return self._submit(worker.run, (task.function, task.args, task.kwargs, task.begun))
        began = time.time()
        call, function = task.session.sendable(task)
        task.pickled_s = time.time() - began
        # A task that moves data needs the connector; importing it is not the task's own time.
        connector = task.session.engine.store.place.connector if task.uses or task.outputs else ""
        notes = (task.number, task.attempts, task.timeout_s, str(self.folder), connector)
        return self._submit(worker.run_sent, (pickle.dumps((notes, function, call)),))

    def _submit(self, function: Any, args: tuple) -> Future:
        # DataFlowKernel.submit is not thread-safe, and completions are sent on from Parsl's own threads.
        with self._sending:
            return self.kernel.submit(function, args, [self.executor.label], False, None, {})

    def starting_problem(self) -> str | None:
        """While :meth:`start` runs in another thread: why it cannot succeed, as soon as that is known."""
        return None

    def health(self) -> str | None:
        """What has broken since the start, or None."""
        if self.executor is not None and getattr(self.executor, "bad_state_is_set", False):
            return str(self.executor.executor_exception)
        return None

    def doing(self) -> dict[str, tuple[int, int] | None]:
        """What each worker process says it is at: {"host~pid": (task, attempt) or None when idle}."""
        found = {}
        for file in self.folder.glob("worker-*"):
            host, _, pid = file.name.removeprefix("worker-").rpartition("~")
            # A worker that was killed at a task would look busy for ever.
            if host == socket.gethostname() and not psutil.pid_exists(int(pid)):
                file.unlink(missing_ok=True)
                continue
            with contextlib.suppress(OSError, ValueError):
                words = file.read_text().split()
                found[file.name.removeprefix("worker-")] = None if words == ["idle"] else (int(words[0]), int(words[1]))
        return found

    def drop(self, task: Task, hard: bool) -> None:
        """Make the worker that runs ``task`` give it up: by signal first, by ending its process if it is deaf."""
        with contextlib.suppress(OSError):
            (self.folder / f"dropped-{task.number}").touch()
        for place, at in self.doing().items():
            host, _, pid = place.rpartition("~")
            if at == (task.number, task.attempts) and host == socket.gethostname():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL if hard else signal.SIGUSR1)

    def late(self, task: Task) -> str | None:
        """The stack of a task whose time limit ended its worker process, if that is what happened."""
        file = self.folder / f"late-{task.number}-{task.attempts}"
        with contextlib.suppress(OSError):
            text = file.read_text()
            file.unlink()
            return text or None
        return None

    def close(self) -> None:
        kernel, self.kernel = self.kernel, None
        if kernel is not None:
            with contextlib.suppress(Exception):
                kernel.cleanup()


class ThreadPool(Pool):
    """Threads of this process: quick to start; for work that releases the GIL (torch, tblite)."""

    processes = False

    def config(self) -> Any:
        from parsl import Config
        from parsl.executors import ThreadPoolExecutor

        threads = ThreadPoolExecutor(
            label="scilab", max_threads=self.workers + SPARE_THREADS, thread_name_prefix="scilab-worker"
        )
        return Config(
            executors=[threads], strategy="none", initialize_logging=False, usage_tracking=0,
            run_dir=str(self.folder / "parsl"), exit_mode="skip",
        )  # fmt: skip

    def own_store(self) -> Store:
        return Store.local()

    def close(self) -> None:
        # Waits for no thread: one may be stuck in a task that was given up.
        inner = getattr(self.executor, "executor", None)  # not there where the start was disturbed
        if inner is not None:
            inner.shutdown(wait=False, cancel_futures=True)
            inner.shutdown = lambda *_, **__: None
        super().close()


class ProcessPool(Pool):
    """Worker processes of this machine by Parsl's HighThroughputExecutor; for work that holds the GIL or may crash.

    ``gpus``: a number of CUDA devices to share out, one per worker in turn; None takes what is visible.
    """

    def __init__(self, workers: int, gpus: int | None, given: Store | None) -> None:
        super().__init__(workers, _reachable(given))
        found = visible_gpus() if gpus != 0 else []
        if gpus is not None and gpus > len(found):
            raise ValueError(
                f"{gpus} GPU{'s' if gpus > 1 else ''} asked for, and torch sees {len(found)} here; give gpus=0 to run "
                "on CPU cores, or install a CUDA build of torch on a machine with a GPU"
            )
        self.gpus = found if gpus is None else found[:gpus]
        # One task ahead for every worker hides the round trip and still stops at once.
        self.capacity = 2 * workers

    def config(self) -> Any:
        from parsl import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
        from parsl.launchers import SimpleLauncher

        from .providers import OwnGroupProvider

        warm_pool = f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'htex_pool.py'))}"
        htex = HighThroughputExecutor(
            label="scilab",
            # A fixed address spares a look-up that needs a network; the loopback is not reachable from outside.
            address="127.0.0.1",
            max_workers_per_node=self.workers,
            cores_per_worker=1e-6,
            prefetch_capacity=self.workers,
            heartbeat_period=1,
            heartbeat_threshold=30,
            worker_logdir_root=str(self.folder / "logs"),
            launch_cmd=DEFAULT_LAUNCH_CMD.replace("process_worker_pool.py", warm_pool, 1),
            interchange_launch_cmd=[
                sys.executable, str(HERE / "supervisor.py"), str(os.getpid()), "new",
                sys.executable, str(Path(sys.executable).parent / "interchange.py"),
            ],
            provider=OwnGroupProvider(
                init_blocks=1, min_blocks=1, max_blocks=1, launcher=SimpleLauncher(), worker_init=self._environment(),
            ),
        )  # fmt: skip
        # The strategy's first tick launches the block: Parsl's own period of 5 s is all waiting.
        return Config(
            executors=[htex], strategy="none", strategy_period=0.1, initialize_logging=False, usage_tracking=0,
            run_dir=str(self.folder / "parsl"), exit_mode="skip",
        )  # fmt: skip

    def _environment(self) -> str:
        paths = os.pathsep.join(path for path in sys.path if path)
        # Loaded here, so its import is worth doing once in the fork server; otherwise a worker need not have it.
        preload = "torch" if "torch" in sys.modules else ""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        lines = [f"export {name}=1" for name in names]
        lines += [f"export PYTHONPATH={shlex.quote(paths)}", f"export SCILAB_PRELOAD={preload}"]
        lines += [f"export {worker.GPUS}={','.join(self.gpus)}"]
        return "\n".join(lines)

    def starting_problem(self) -> str | None:
        process = getattr(self.executor, "interchange_proc", None)
        if process is not None and process.poll() is not None:
            return f"Parsl's interchange ended at once (exit status {process.returncode})"
        return None

    def health(self) -> str | None:
        process = getattr(self.executor, "interchange_proc", None)
        if process is not None and process.poll() is not None:
            return f"Parsl's interchange has ended (exit status {process.returncode})"
        thread = getattr(self.executor, "_result_queue_thread", None)
        if thread is not None and not thread.is_alive() and self.kernel is not None:
            return "Parsl's result thread has ended"
        return super().health()

    def close(self) -> None:
        executor = self.executor
        blocks = [] if executor is None else [job["process"] for job in executor.provider.resources.values()]
        super().close()
        process = getattr(executor, "interchange_proc", None)
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait(5)
        for block in blocks:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(block.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                block.wait(5)


class ConfigPool(Pool):
    """Any Parsl ``Config``: Slurm, PBS, Flux, Globus Compute… The user's own file says where and how much."""

    # A Config's executors can be started once only.
    restartable = False

    def __init__(self, config: Any, given: Store | None, workers: int | None) -> None:
        executors = list(config.executors)
        if len(executors) != 1:
            raise ValueError(
                f"the Parsl Config has {len(executors)} executors; give an engine one with a single executor "
                "(make two engines for two)"
            )
        super().__init__(workers or _workers_of(executors[0]), given)
        self._config = config
        self.capacity = 2 * self.workers
        # Where the workers' notes can be seen by both sides, if anywhere.
        self.folder = scratch_folder(_made(config.run_dir))

    def config(self) -> Any:
        from .providers import spare_fork_handlers

        spare_fork_handlers(getattr(self._config.executors[0], "provider", None))
        return self._config

    def own_store(self) -> Store:
        return Store.file(_made(self._config.run_dir))

    def health(self) -> str | None:
        process = getattr(self.executor, "interchange_proc", None)
        if process is not None and process.poll() is not None:
            return f"Parsl's interchange has ended (exit status {process.returncode})"
        problem = super().health()
        if problem is not None:
            return "; ".join(filter(None, [" ".join(problem.split()), self._said()]))
        jobs = dict(getattr(self.executor, "status_facade", {}))
        if jobs and all(job.terminal for job in jobs.values()) and self._config.strategy in (None, "none"):
            states = ", ".join(sorted({job.state.name for job in jobs.values()}))
            return f"all its jobs have ended ({states}) and the Config's strategy is 'none'; use strategy='simple'"
        return None

    def _said(self) -> str:
        """The last lines that the jobs wrote as errors."""
        lines: list[str] = []
        for job in getattr(getattr(self.executor, "provider", None), "resources", {}).values():
            with contextlib.suppress(OSError, TypeError, KeyError):
                lines += Path(job["job_stderr_path"]).read_text(errors="replace").strip().splitlines()[-3:]
        return "; ".join(lines[-6:])


def _reachable(given: Store | None) -> Store | None:
    if given is not None and given.kind == "local":
        raise ValueError(
            "a local data plane lives in the memory of one process; "
            "give processes Store.file(), Store.redis(…) or Store.endpoint(…)"
        )
    return given


def _made(folder: str) -> Path:
    path = Path(folder).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _workers_of(executor: Any) -> int:
    """How many tasks the executor runs at once, when all its blocks are there."""
    provider = getattr(executor, "provider", None)
    blocks, nodes = getattr(provider, "max_blocks", 1), getattr(provider, "nodes_per_block", 1)
    per_node = getattr(executor, "max_workers_per_node", None) or getattr(executor, "max_threads", None)
    if per_node in (None, float("inf")):
        per_node = usable_cores()
    return max(1, int(per_node) * int(blocks or 1) * int(nodes or 1))


def globus_config(endpoint_id: str, run_dir: str) -> Any:
    """A Parsl Config that sends tasks to a Globus Compute endpoint.

    Raises:
        ValueError: the Globus Compute SDK is not installed.
    """
    from parsl import Config

    try:
        from globus_compute_sdk import Executor
        from parsl.executors import GlobusComputeExecutor
    except ImportError:
        raise ValueError(
            "Globus Compute needs its SDK: pip install globus-compute-sdk, then sign in once with "
            "`globus-compute-endpoint login` or `python -c 'import globus_compute_sdk as g; g.Client()'`"
        ) from None
    executor = GlobusComputeExecutor(executor=Executor(endpoint_id=endpoint_id), label="scilab")
    return Config(executors=[executor], strategy="none", initialize_logging=False, usage_tracking=0, run_dir=run_dir)
