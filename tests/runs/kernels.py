"""Other kernels for the tests: processes that share a journal with this one, and can be killed."""

import contextlib
import multiprocessing
import os
import signal

from walk import Walk

from scilab.runs import Journal, JournalError, Run

CONTEXT = multiprocessing.get_context("forkserver")  # spawned once, with torch imported; then forked in milliseconds
CONTEXT.set_forkserver_preload(["torch", "psutil", "platformdirs"])


def _walk(pipe, acknowledge, journal, settings):
    run = Run(Walk(acknowledge=acknowledge and acknowledge.fileno(), **settings), journal=Journal(journal))
    pipe.send(run.id)
    pipe.recv()
    run.start()
    pipe.send(run.status)
    run.wait()
    pipe.send(run.status)


@contextlib.contextmanager
def kernel(function, *args):
    """A process running function(pipe, *args), and our end of the pipe; killed in the end."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=function, args=(there, *args), daemon=True)
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        kill(process)


def kill(process):
    """SIGKILL, and wait until it is gone."""
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def walking(journal, acknowledge=None, **settings):
    """Another kernel that drives a walk; it first sends the run's id and waits for a message to start."""
    return kernel(_walk, acknowledge, journal, settings)


def attempt(pipe, journal, id, what):
    """In another kernel: resume or delete a run, and send what came of it."""
    try:
        if what == "resume":
            Run.resume(id, Walk(), Journal(journal)).start()
        elif what == "delete":
            Journal(journal).delete(id)
        else:
            Journal(journal)
        pipe.send("done")
    except JournalError as error:
        pipe.send(str(error))
    pipe.recv()
