"""Task functions for the tests of the planes: importable by workers, each doing one thing well or badly."""

import os
import signal
import time

from scilab.planes import cached, get, put


class Poison(Exception):
    """Cannot be unpickled: its ``__init__`` wants two arguments and pickle gives it one."""

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class Mute(Exception):
    """Has no text: its ``__str__`` raises."""

    def __str__(self):
        raise RuntimeError("no text")


class Rotten:
    """Pickles well in the worker and raises when read in the kernel."""

    def __reduce__(self):
        return _burst, ()


def _burst():
    raise ZeroDivisionError("while being read")


def square(x):
    return x * x


def pid():
    return os.getpid()


def poison():
    raise Poison("one", "two")


def mute():
    raise Mute


def rotten():
    return Rotten()


def generator():
    return (x for x in range(3))


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def hang():
    """Deaf to everything but the end of its process: blocks the signals that would stop it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGUSR1})
    while True:
        time.sleep(0.05)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(folder):
    """Kill the worker the first time, answer the second."""
    mark = os.path.join(folder, "died")
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def fail_times(folder, times):
    """Raise on the first ``times`` calls."""
    marks = len(os.listdir(folder))
    if marks < times:
        open(os.path.join(folder, f"{marks}"), "w").close()
        raise ValueError(f"call {marks}")
    return marks


def build(x):
    return [x]


def use_cache(x):
    return id(cached(build, x)), os.getpid()


def double(key, address):
    """Read a dict of tensors, write its double."""
    model = get(key, edge=("down", 1))
    return put(address, {name: 2 * tensor for name, tensor in model.items()}, edge=("up", 1))


def write_then(address, obj, what):
    put(address, obj)
    if what == "raise":
        raise ValueError("after writing")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        time.sleep(30)


def openmp():
    import torch

    return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")


def gpu():
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("PARSL_WORKER_RANK"), time.sleep(0.05)


def nothing(_key):
    return None


def collect(session, count):
    """Not a task: the next ``count`` completions of a session, in order of arrival."""
    return [session.next(60) for _ in range(count)]
