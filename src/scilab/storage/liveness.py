"""Is the process that holds something in a database still alive?

A process on this machine is asked for by pid and start time (pids are used again). One that cannot be seen from here
(another host, another container, before the last boot) is judged by the age of its heartbeat.
"""

import os
import socket
import time
from pathlib import Path

import psutil

HEARTBEAT_S = 5.0  # a holder says at least this often that it lives
STALE_S = 60.0  # an unseen holder silent for longer than this is taken for dead
_START_TOLERANCE_S = 2.0  # psutil derives start times from the boot time, which moves when the clock is set

held: set[str] = set()  # the claims that threads of this very process hold


def this_host() -> str:
    """Name of the space in which pids mean something: "host/boot/pid namespace"."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:  # not Linux
        boot = namespace = "-"
    return f"{socket.gethostname()}/{boot}/{namespace}"


def this_process() -> tuple[str, int, float]:
    """(host, pid, start time) of this process."""
    return this_host(), os.getpid(), psutil.Process().create_time()


def holder(host: str, pid: int, born: float, heartbeat: float, claim: str) -> str | None:
    """Who holds the claim in a database row of this kind, in words for a message; None if nobody does any more."""
    if host == this_host():
        alive = claim in held if pid == os.getpid() else _process_lives(pid, born, heartbeat)
    else:
        alive = time.time() - heartbeat < STALE_S
    return f"process {pid} on {host.split('/')[0]}" if alive else None


def _process_lives(pid: int, born: float, heartbeat: float) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        same = abs(process.create_time() - born) < _START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # there, but not ours to look at
        same = False
    # A start time that does not match is believed only once the heartbeat stops too: the clock may have been set.
    return same or time.time() - heartbeat < 2 * HEARTBEAT_S
