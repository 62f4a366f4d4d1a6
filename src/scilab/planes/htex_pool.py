"""Parsl's worker pool, with workers forked from a warm server instead of started from nothing.

Run by path in place of ``process_worker_pool.py`` with the same arguments. Every spawned interpreter would
otherwise import Parsl, and torch, again (0.5 to 2 s a worker); a fork server that has imported them and started
no thread gives a ready worker in milliseconds. The modules to import first are named in ``SCILAB_PRELOAD``.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import sys

POOL = "parsl.executors.high_throughput.process_worker_pool"


def main() -> None:
    """Put the fork server in place of Parsl's spawn context, then be Parsl's pool."""
    context = multiprocessing.get_context("forkserver")
    wanted = os.environ.get("SCILAB_PRELOAD", "").split()
    context.set_forkserver_preload([POOL, "scilab.planes.worker", *wanted, "scilab.planes.frozen"])
    # Now, so that it imports while this process imports the same.
    multiprocessing.forkserver.ensure_running()
    import parsl.multiprocessing as parsl_context

    parsl_context.SpawnContext = context
    parsl_context.SpawnProcess = context.Process
    parsl_context.SpawnEvent = context.Event
    parsl_context.SpawnQueue = context.Queue
    runpy.run_module(POOL, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # Not this file's folder: its `tasks.py` and the like are no top-level modules.
    sys.path[0:1] = []
    main()
