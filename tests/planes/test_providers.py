"""Programs are started without fork handlers, which wait for ever beside a matrix product in another thread."""

import subprocess
import sys
import time

import pytest
from parsl.providers import SlurmProvider

from scilab.planes.providers import spare_fork_handlers

COUNTED = """
import os
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from scilab.planes import Engine
with Engine.processes(1) as engine, engine.session() as session:
    session.submit(abs, -3)
    print(session.next(60).value)
print(forks)
"""


def test_local_workers_start_and_end_without_fork_handlers():
    told = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, timeout=100)
    assert told.stdout.split() == ["3", "[]"], told.stderr[-2000:]


def test_a_schedulers_commands_run_without_fork_handlers_and_say_the_same():
    theirs, ours = SlurmProvider(), SlurmProvider(cmd_timeout=1)
    spare_fork_handlers(ours)
    for command in ("echo out; echo err >&2; exit 3", "printf 'n\\303\\266n'", "kill -9 $$", "no-such-program"):
        assert ours.execute_wait(command) == theirs.execute_wait(command)
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        ours.execute_wait("sleep 30")
    assert time.monotonic() - began < 20
    script = """
import os
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from parsl.providers import SlurmProvider
from scilab.planes.providers import spare_fork_handlers
provider = SlurmProvider()
before = len(forks)
provider.execute_wait("true")
print(len(forks) - before)
spare_fork_handlers(provider)
provider.execute_wait("true")
print(len(forks) - before)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert told.stdout.split() == ["1", "1"], told.stderr[-2000:]
