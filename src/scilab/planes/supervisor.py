"""Runs a command and ends it, with everything it started, when the kernel that wanted it is gone.

Stand-alone (run by path, imports nothing of scilab): ``python supervisor.py KERNEL_PID new|keep COMMAND…``, where
``new`` asks for a process group of its own and ``keep`` says that the caller has already given it one. Parsl's worker
pool and interchange otherwise outlive a killed kernel by two minutes and more. The kernel's death is an event
(pidfd on Linux, kqueue on macOS), so nothing polls; the command's process group goes with it.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading


def wait_for_death(pid: int) -> None:
    """Return once process ``pid`` has ended."""
    if hasattr(os, "pidfd_open"):
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        select.select([watch], [], [])
    else:
        queue = select.kqueue()
        death = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        with contextlib.suppress(ProcessLookupError):
            queue.control([death], 1)


def main() -> int:
    """Run the command; its exit status is ours."""
    kernel, group, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Not the kernel's group: an interrupt of the kernel is not for the workers, and a group can be ended whole.
    if group == "new":
        os.setpgid(0, 0)
    # Until here the caller held interrupts back, see `pool.interrupts_held`; one that waits is dropped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command's own

    def end_group(*_: object) -> None:
        os.killpg(0, signal.SIGKILL)

    def watch() -> None:
        wait_for_death(kernel)
        end_group()

    child = subprocess.Popen(command, stdin=None)
    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, end_group)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = child.wait()
    # What the command left behind (its own forked helpers) goes too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    return code


if __name__ == "__main__":
    sys.exit(main())
