"""Run one notebook on a real kernel that owns a single core, and measure the memory of all its processes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

SAMPLE_S = 0.2
MB = 1e6


@dataclass
class Measurement:
    """What one run of a notebook took. Memory is the kernel's and its descendants', not the server's."""

    notebook: str
    cells: int = 0
    seconds: float = 0.0
    """From starting the kernel to the end of the last cell."""
    cpu_seconds: float = 0.0
    """What the kernel and its descendants computed; unlike ``seconds``, it does not grow with what else runs here."""
    peak_mb: float = 0.0
    """Largest sum, over the processes alive at one time, of what they hold; what they share counts once."""
    processes: int = 0
    """Most processes alive at one time."""
    cores: int = 0
    """Cores the kernel could use: 1, or all of them where a process cannot be pinned (macOS)."""
    problems: list[str] = field(default_factory=list)
    """Cells that raised, tracebacks of threads, processes that outlived the kernel."""


def run_on_one_core(path: Path, folder: Path, timeout_s: float = 300) -> Measurement:
    """Execute the notebook top to bottom in ``folder``; it stops at the first cell that raises."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    result = Measurement(path.name, cells=len(code))
    client = NotebookClient(
        notebook, timeout=timeout_s, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    started = time.monotonic()
    with one_core():
        client.create_kernel_manager()
        client.start_new_kernel(cwd=str(folder))
    watch = ProcessWatch(client.km.provisioner.pid)
    pinnable = hasattr(watch.kernel, "cpu_affinity")
    result.cores = len(watch.kernel.cpu_affinity()) if pinnable else psutil.cpu_count()
    try:
        client.start_new_kernel_client()
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        result.problems.append(f"cell {index + 1}: {error}")
    finally:
        result.seconds = time.monotonic() - started
        watch.stop()
        client._cleanup_kernel()
    result.cpu_seconds = sum(watch.cpu.values())
    result.peak_mb, result.processes = watch.peak_bytes / MB, watch.most_processes
    result.problems += [f"printed a traceback: {text}" for text in printed_tracebacks(code)]
    result.problems += [f"outlived the kernel: {name}" for name in watch.left_alive(within_s=5)]
    return result


def printed_tracebacks(code) -> list[str]:
    """Last lines of tracebacks that background threads printed; no cell fails for them."""
    texts = (output.get("text", "") for cell in code for output in cell.outputs)
    return [text.strip().splitlines()[-1] for text in texts if "Traceback (most recent call last)" in text]


@contextlib.contextmanager
def one_core():
    """Pin this thread, and so every process it starts, to one core; give it back its cores afterwards."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


class ProcessWatch:
    """Samples the memory and CPU time of a process and everything it ever started, also what was re-parented since."""

    def __init__(self, pid: int):
        self.kernel = psutil.Process(pid)
        self.peak_bytes, self.most_processes = 0, 0
        self._known = {self.kernel}
        self.cpu: dict[psutil.Process, float] = {}
        """Seconds each process has computed, as last seen."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end."""
        self._stop.set()
        self._thread.join()

    def left_alive(self, within_s: float) -> list[str]:
        """Names of the processes that are still there after the kernel was shut down."""
        _, alive = psutil.wait_procs(self._known, timeout=within_s)
        return sorted(process.name() for process in alive if process.status() != psutil.STATUS_ZOMBIE)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        for process in list(self._known):
            with contextlib.suppress(psutil.Error):
                self._known.update(process.children(recursive=True))
        for process in self._known:
            with contextlib.suppress(psutil.Error):
                self.cpu[process] = sum(process.cpu_times()[:2])
        held = [parts for process in self._known if (parts := memory_parts(process))]
        if held:
            own, files = zip(*held, strict=True)
            self.peak_bytes = max(self.peak_bytes, sum(own) + max(files))
            self.most_processes = max(self.most_processes, len(held))


def memory_parts(process: psutil.Process) -> tuple[int, int] | None:
    """(bytes of its own, bytes of mapped files) of a process; None once it is gone.

    On Linux "its own" is the proportional share of anonymous and shared memory, so pages that forked workers
    have in common count once. Mapped files are mostly libraries that all have in common, so the caller
    counts the largest once; their proportional share would depend on strangers that use the same files.
    Elsewhere it is the resident size, an upper bound.
    """
    try:
        if not psutil.LINUX:
            return process.memory_info().rss, 0
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (OSError, psutil.Error):
        return None
    if "RssFile:" not in status:  # it has ended, and nobody has asked for its status
        return None
    share = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    (files,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssFile:"))
    return share["Pss_Anon"] + share["Pss_Shmem"], files
