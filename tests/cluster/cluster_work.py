"""Task functions for the cluster's tests: importable by workers through the job's PYTHONPATH."""

import os
import signal
import time

from scilab.planes import cached, get, put


def square(x, seconds=0.0):
    """Its value, and the Slurm job and process in which it was worked out."""
    time.sleep(seconds)
    return x * x, os.environ.get("SLURM_JOB_ID"), os.getpid()


def meet(folder, mine, other):
    """Stay until the other one has been begun, too: both are done only if two workers are at it at once."""
    open(os.path.join(folder, mine), "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, other)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.path.exists(os.path.join(folder, other)), os.getpid()


def fail():
    raise ArithmeticError("not today")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds):
    time.sleep(seconds)


def deaf():
    """Blocks the signal that would end it at its time limit; only the end of its process helps."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    while True:
        time.sleep(0.05)


def scale(key, factor, address):
    """Read a dict of arrays under ``key``, write it times ``factor`` at ``address``."""
    arrays = cached(get, key)
    return put(address, {name: factor * array for name, array in arrays.items()}, edge="up")


def beat(folder, x, seconds):
    """Leave a mark for every time it is begun."""
    open(os.path.join(folder, f"begun-{x}-{os.getpid()}"), "w").close()
    time.sleep(seconds)
