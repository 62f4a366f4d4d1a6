"""What it costs to keep every record: a Run against the plain loop, and against a journal that syncs each commit.

    python tests/benchmarks/journal_overhead.py [records]

Prints one JSON line last. Microseconds are CPU time of the whole process for each record beyond the plain loop's;
records per second are by the clock. `list_1000_runs_ms` is the median time of Journal.runs() with 1,000 runs.
"""

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scilab.runs import Journal, Run


@dataclass(frozen=True)
class DeviceFinished:
    round: int
    device: str
    samples: int
    loss: float
    seconds: float
    worker: str
    advances: ClassVar[bool] = True


def records(count):
    for step in range(count):
        yield DeviceFinished(step // 16, f"device-{step % 16}", 112, 1.0 / (step + 1), 0.0125, "worker-0")


def measure(work):
    """Seconds of CPU and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - clock


def plain(count):
    for _ in records(count):
        pass


def journalled(journal, count, synchronous):
    journal.database.read(f"PRAGMA synchronous={synchronous}")
    run = Run(records(count), journal=journal).start().wait()
    assert (run.status, run.count) == ("finished", count), run.error


def main(count):
    rows = {"plain": [], "normal": [], "full": []}
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        journalled(journal, 100, "NORMAL")
        for _ in range(3):  # side by side, the best of three each
            rows["plain"].append(measure(lambda: plain(count)))
            rows["normal"].append(measure(lambda: journalled(journal, count, "NORMAL")))
            rows["full"].append(measure(lambda: journalled(journal, count // 10, "FULL")))
        journal.database.read("PRAGMA synchronous=NORMAL")
        for _ in range(1000):
            Run(records(3), journal=journal).start().wait()
        listing = [measure(lambda: [run.progress for run in journal.runs()])[1] for _ in range(9)]
        journal.close()
    best = {name: (min(cpu for cpu, _ in each), min(clock for _, clock in each)) for name, each in rows.items()}
    (plain_cpu, plain_s), (normal_cpu, normal_s), (full_cpu, full_s) = best["plain"], best["normal"], best["full"]
    print(
        json.dumps(
            {
                "records": count,
                "us_cpu_per_record": round(1e6 * (normal_cpu - plain_cpu) / count, 1),
                "us_cpu_per_record_full_sync": round(1e6 * (full_cpu - plain_cpu / 10) / (count // 10), 1),
                "records_per_s": round(count / normal_s),
                "records_per_s_full_sync": round(count // 10 / full_s),
                "records_per_s_plain": round(count / plain_s),
                "list_1000_runs_ms": round(1e3 * statistics.median(listing), 2),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
