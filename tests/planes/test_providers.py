"""Programs are started without fork handlers, which wait for ever beside a matrix product in another thread."""

import subprocess
import sys

import pytest
from parsl.providers import SlurmProvider

from scilab.planes.providers import spare_fork_handlers

COUNTED = "import os; forks = []; os.register_at_fork(before=lambda: forks.append(1))"
LOCAL = """
from scilab.planes import Engine
with Engine.processes(1) as engine, engine.session() as session:
    session.submit(abs, -3)
    print(session.next(60).value)
print(len(forks))
"""
CLUSTER = """
from parsl.providers import SlurmProvider
from scilab.planes.providers import spare_fork_handlers
provider = SlurmProvider()
forks.clear()
provider.execute_wait("true")
print(len(forks))
spare_fork_handlers(provider)
provider.execute_wait("true")
print(len(forks))
"""


@pytest.mark.parametrize(
    ("script", "printed"), [(LOCAL, ["3", "0"]), (CLUSTER, ["1", "1"])], ids=["local workers", "a scheduler's commands"]
)
def test_nothing_is_started_with_fork_handlers(script, printed):
    told = subprocess.run([sys.executable, "-c", COUNTED + script], capture_output=True, text=True, timeout=100)
    assert told.stdout.split() == printed, told.stderr[-2000:]


def test_a_schedulers_commands_say_what_they_say_to_parsl_and_have_its_limit_of_time():
    theirs, ours = SlurmProvider(), SlurmProvider(cmd_timeout=1)
    spare_fork_handlers(ours)
    for command in ("echo out; echo err >&2; exit 3", "printf 'n\\303\\266n'", "kill -9 $$", "no-such-program"):
        assert ours.execute_wait(command) == theirs.execute_wait(command)
    with pytest.raises(subprocess.TimeoutExpired):
        ours.execute_wait("sleep 30")
