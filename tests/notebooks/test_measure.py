"""The measurement itself, on small notebooks whose memory and failures are known."""

import os
import sys
import time

import nbformat
import psutil
import pytest
from measure import memory_parts, run_on_one_core

# 100 MB in a child of the kernel, kept until it is told to go; touched, so that it is resident.
CHILD = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "x = b'x' * 100_000_000; print(flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
import time; time.sleep(0.6)
child.communicate(b"\\n")
"""
# The child leaves the kernel's session, as worker pools do, and outlives it unless someone looks.
ORPHAN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(12)"], start_new_session=True)
time.sleep(0.6)
"""
THREAD = """
import threading
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
import time; time.sleep(0.3)
"""


@pytest.fixture
def measured(tmp_path):
    def measure(*sources):
        path = tmp_path / "probe.ipynb"
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return run_on_one_core(path, tmp_path, timeout_s=60)

    return measure


def test_memory_of_the_kernel_and_its_children_is_counted(measured):
    idle = measured("import time; time.sleep(0.6)")
    own = measured("x = b'x' * 200_000_000", "import time; time.sleep(0.6)")
    child = measured(CHILD)
    assert idle.problems == own.problems == child.problems == []
    assert own.peak_mb - idle.peak_mb == pytest.approx(200, abs=15)
    assert 100 <= child.peak_mb - idle.peak_mb <= 130  # its interpreter's own memory comes on top
    assert (idle.processes, child.processes) == (1, 2)


def test_cpu_time_is_counted_and_waiting_is_not(measured):
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < {}: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn.format(1)!r}])"
    idle, own, other = measured("import time; time.sleep(2)"), measured(burn.format(2)), measured(child)
    assert own.cpu_seconds - idle.cpu_seconds == pytest.approx(2, abs=0.5)
    assert other.cpu_seconds - idle.cpu_seconds == pytest.approx(1, abs=0.5)


def test_the_kernel_has_one_core_and_this_process_keeps_its_own(measured):
    before = os.sched_getaffinity(0)
    result = measured("import os; assert len(os.sched_getaffinity(0)) == 1")
    assert result.problems == [] and result.cores == 1
    assert os.sched_getaffinity(0) == before


def test_an_ended_process_holds_nothing():
    child = psutil.Popen([sys.executable, "-c", ""])
    while child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert memory_parts(child) is None
    child.wait()
    assert memory_parts(child) is None


def test_a_failed_cell_is_named_and_ends_the_run(measured, tmp_path):
    result = measured("a = 1", "a / 0", "open('reached', 'w')")
    assert len(result.problems) == 1
    assert result.problems[0].startswith("cell 2: ") and "ZeroDivisionError" in result.problems[0]
    assert not (tmp_path / "reached").exists()


def test_a_traceback_of_a_thread_is_found(measured):
    assert measured(THREAD).problems == ["printed a traceback: ZeroDivisionError: division by zero"]


def test_a_process_that_outlives_the_kernel_is_found(measured):
    (problem,) = measured(ORPHAN).problems
    assert problem.startswith("outlived the kernel: python")
