import subprocess
import sys
import time

import psutil

from scilab.storage import liveness


def dead_pid():
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_liveness_by_host_pid_start_time_and_heartbeat():
    host, pid, born = liveness.this_process()
    parent = psutil.Process().parent()
    parent_born = parent.create_time()
    now = time.time()
    fresh, silent = now - 1, now - 2 * liveness.STALE_S

    def lives(host=host, pid=parent.pid, born=parent_born, heartbeat=fresh, claim="x"):
        return liveness.holder(host, pid, born, heartbeat, claim) is not None

    assert lives() and lives(heartbeat=silent)  # it is there, however long it computes
    assert not lives(pid=dead_pid())
    assert not lives(born=parent_born - 1000, heartbeat=silent)  # another process has the pid now
    assert lives(born=parent_born - 1000, heartbeat=fresh)  # the clock was set
    assert lives(host="elsewhere/1/2", pid=dead_pid()) and not lives(host="elsewhere/1/2", heartbeat=silent)
    assert not lives(pid=pid, born=born)  # this very process, but no thread of it
    liveness.held.add("mine")
    assert lives(pid=pid, born=born, claim="mine")
    liveness.held.discard("mine")


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    born = process.create_time()
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert liveness.holder(liveness.this_host(), child.pid, born, time.time(), "x") is None
    child.wait()
