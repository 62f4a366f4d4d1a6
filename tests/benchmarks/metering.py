"""What a measured process tree uses: CPU seconds and memory of this process and its workers, and on what machine."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib.metadata import PackageNotFoundError, version

import psutil


def workers() -> list[psutil.Process]:
    """The processes below this one; worker pools are no children of ours, but their supervisors are told our pid."""
    found = psutil.Process().children(recursive=True)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("supervisor.py") for word in words) and str(os.getpid()) in words:
            found += [process, *process.children(recursive=True)]
    return list(dict.fromkeys(found))


def cpu_s(others: list[psutil.Process], memory: Memory | None = None) -> float:
    """User and system seconds so far of this process and `others`, without what measuring the `memory` takes."""
    total = -memory.cpu_s if memory is not None else 0.0
    for process in [psutil.Process(), *others]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


class Memory(threading.Thread):
    """The peak of all processes' memory (PSS: what several share counts once), looked at every `every_s` seconds."""

    def __init__(self, every_s: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.every_s, self.peak, self.cpu_s, self._done = every_s, 0, 0.0, threading.Event()

    def run(self) -> None:
        looks, others = 0, []
        while True:
            if looks % 8 == 0:  # to find all processes takes longer than to read what these use
                others = workers()
            looks, total = looks + 1, 0
            for process in [psutil.Process(), *others]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
            self.cpu_s = time.thread_time()
            if self._done.wait(self.every_s):
                return

    def stop(self) -> float:
        """The peak in MB."""
        self._done.set()
        self.join()
        return self.peak / 2**20


def machine(*packages: str) -> dict:
    """Versions, cores and load, for the line of figures."""
    found = {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
