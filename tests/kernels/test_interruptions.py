"""Real notebook kernels, killed, restarted and interrupted in the middle of a federation.

Whatever happens: no process is alive five seconds later, no record is missing that the federation had been told was
kept, and the run resumes to the bits of an undisturbed one.
"""

import contextlib
import json
import os
import random
import time
import uuid

import psutil
import pytest
from jupyter_client.manager import KernelManager

from scilab.datasets import digits
from scilab.federated import FedAvg, Federation, Topology, dirichlet
from scilab.models import build
from scilab.runs import Journal, Run

KILLS = 20
ROUNDS = 12


def make(engine="threads:2"):
    """The same federation in the kernel and in this process (the kernel gets this function's source)."""
    data = digits()
    model = build("mlp", data.shape, 10, seed=3)
    return Federation(
        model, data.train, Topology.tree(12, fanouts=[3]), FedAvg(1, 16, 0.1), test=data.test,
        partition=dirichlet(0.5), rounds=ROUNDS, engine=engine, seed=3,
    )  # fmt: skip


CELL = """
import os
from scilab.datasets import digits
from scilab.federated import FedAvg, Federation, Topology, dirichlet
from scilab.models import build
from scilab.runs import Journal, Run
ROUNDS = {rounds}
{make}
class Witnessed:
    "Tells a file of each record once control is back after its yield: from then on it must be in the journal."
    def __init__(self, inner):
        self.inner = inner
    def __getattr__(self, name):
        return getattr(self.inner, name)
    def __iter__(self):
        told = os.open({witness!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for record in self.inner:
            yield record
            os.write(told, type(record).__name__.encode() + b"\\n")
run = Run(Witnessed(make({engine!r}))).start()
print(run.id)
"""


class Kernel:
    """A kernel of its own with a journal, a witness file and a mark that all its processes inherit."""

    def __init__(self, folder, engine):
        import inspect

        self.journal, self.witness = folder / "journal.db", folder / "witness"
        self.mark, self.engine = uuid.uuid4().hex, engine
        env = os.environ | {"SCILAB_JOURNAL": str(self.journal), "SCILAB_TEST_MARK": self.mark}
        self.cell = CELL.format(rounds=ROUNDS, make=inspect.getsource(make), witness=str(self.witness), engine=engine)
        self.manager = KernelManager()
        self.manager.start_kernel(env=env)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(60)

    def run(self, code):
        """Execute and return what was printed; raises if it failed."""
        printed = []
        reply = self.client.execute_interactive(
            code, timeout=120, output_hook=lambda m: printed.append(m["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed).strip()

    def launch(self):
        self.id = self.run(self.cell)
        return self

    def started(self):
        """Wait until the first record is kept."""
        deadline = time.monotonic() + 60
        while not (self.witness.exists() and self.witness.stat().st_size):
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.01)
        return self

    def close(self):
        self.client.stop_channels()
        with contextlib.suppress(Exception):
            self.manager.shutdown_kernel(now=True)


def left(mark, besides=()):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SCILAB_TEST_MARK") == mark and process.pid not in besides:
                found.append(process)
    return found


def assert_gone(mark, besides=()):
    deadline = time.monotonic() + 5
    while left(mark, besides) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left(mark, besides) == []


@pytest.fixture(scope="module")
def undisturbed():
    federation = make()
    for _ in federation:
        pass
    return bits(federation)


def bits(federation):
    return [tensor.numpy().tobytes() for tensor in federation.result.model.state_dict().values()]


def assert_kept(kernel):
    """Every record that was told to be kept is in the journal, in order."""
    journal = Journal(kernel.journal)
    told = kernel.witness.read_text().split() if kernel.witness.exists() else []
    kept = [record["kind"] for record in journal.run(kernel.id).records()]
    assert kept[: len(told)] == told
    assert len(kept) <= len(told) + 1  # the one that was being kept
    return journal


def assert_resumes(journal, id, undisturbed):
    federation = make()
    run = Run.resume(id, federation, journal)
    assert [name for name, *_ in run.differences] in ([], ["engine"])
    run.start().wait(120)
    assert run.status == "finished", run.error
    assert bits(federation) == undisturbed
    rounds = [r["round"] for r in run.records() if r["kind"] == "RoundFinished"]
    assert rounds == list(range(1, ROUNDS + 1))
    json.dumps(run.records(), allow_nan=False)


@pytest.mark.parametrize("point", range(KILLS))
def test_killed_at_any_point(tmp_path, undisturbed, point):
    rng = random.Random(point)
    kernel = Kernel(tmp_path, "processes:2" if point % 4 == 3 else "threads:2").launch()
    if point % 4 != 0:  # every fourth is killed while it still starts
        kernel.started()
    time.sleep(rng.uniform(0, 0.8))
    os.kill(kernel.manager.provisioner.pid, 9)
    try:
        assert_gone(kernel.mark)
        journal = assert_kept(kernel)
        # A process loses its environment a moment before its place in the process table.
        deadline = time.monotonic() + 5
        while journal.run(kernel.id).status not in ("interrupted", "finished"):
            assert time.monotonic() < deadline, journal.run(kernel.id)
            time.sleep(0.02)
        if journal.run(kernel.id).status == "interrupted":
            assert_resumes(journal, kernel.id, undisturbed)
        journal.close()
    finally:
        kernel.close()


@pytest.mark.parametrize("engine", ["threads:2", "processes:2"])
def test_restarted_in_the_middle(tmp_path, undisturbed, engine):
    kernel = Kernel(tmp_path, engine).launch().started()
    try:
        old = kernel.manager.provisioner.pid
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(60)
        assert kernel.manager.provisioner.pid != old
        assert_gone(kernel.mark, besides=(kernel.manager.provisioner.pid,))
        journal = assert_kept(kernel)
        assert journal.run(kernel.id).status in ("interrupted", "stopped")
        assert_resumes(journal, kernel.id, undisturbed)
        journal.close()
    finally:
        kernel.close()


@pytest.mark.parametrize("engine", ["threads:2", "processes:2"])
def test_interrupted_cells_leave_the_run_alone(tmp_path, undisturbed, engine):
    kernel = Kernel(tmp_path, engine).launch().started()
    try:
        # An error would make the kernel abort requests that arrive right behind it, and the next one may.
        waiting = kernel.client.execute("run.wait()", stop_on_error=False)
        time.sleep(0.3)
        kernel.manager.interrupt_kernel()
        while (reply := kernel.client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != waiting:
            pass
        # Stopped by the interrupt, unless the run was the quicker.
        assert reply["content"].get("ename", "KeyboardInterrupt") == "KeyboardInterrupt"
        assert kernel.run("run.wait(); print(run.status, run.error)") == "finished None"
        journal = assert_kept(kernel)
        assert journal.run(kernel.id).status == "finished"
        got = kernel.run(
            "import hashlib; s = run.result.model.state_dict().values();"
            "print(hashlib.sha256(b''.join(t.numpy().tobytes() for t in s)).hexdigest())"
        )
        import hashlib

        assert got == hashlib.sha256(b"".join(undisturbed)).hexdigest()
        journal.close()
    finally:
        kernel.close()
    assert_gone(kernel.mark)


