"""A real Slurm of one node, below one temporary folder: munged, slurmctld and slurmd with their own ports and key.

Needs Debian's slurm-wlm and munge, and root (slurmd starts jobs as their owner). No systemd, no cgroups, no
accounting: what is left is the scheduler itself, which is what the planes talk to.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import scilab.planes.supervisor

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
START_S = 30
PATIENCE_S = 40

CONFIGURATION = """\
ClusterName=scilab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=2
CompleteWait=0
MessageTimeout=20
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=here Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm that are not on PATH here; empty where the cluster can be started."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def collect(session, count: int) -> list:
    """The next ``count`` completions of a session, in order of arrival."""
    done = [session.next(PATIENCE_S) for _ in range(count)]
    assert None not in done, f"only {count - done.count(None)} of {count} tasks ended in time"
    return done


def until(condition, seconds: float = 10.0) -> bool:
    """Whether ``condition`` comes to hold within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class OneNodeSlurm:
    """Starts in ``__enter__`` and leaves no process behind in ``__exit__``, whatever happened between."""

    partition = "here"

    def __init__(self) -> None:
        # Not pytest's folder: a Unix socket's path may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.host = socket.gethostname().partition(".")[0]
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "OneNodeSlurm":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *command: str) -> str:
        """What one of Slurm's own commands prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    def jobs(self) -> list[str]:
        """Every job that has not ended, as "number state"."""
        return self.run("squeue", "--noheader", "--format=%i %T").splitlines()

    def _start(self) -> None:
        # munged wants its key and its folder to be nobody else's business; clients of any user connect to the socket.
        self.folder.chmod(0o755)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        ctld_port, slurmd_port = _free_ports(2)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=self.host, folder=self.folder, ctld_port=ctld_port, slurmd_port=slurmd_port, cpus=os.cpu_count()
            )
        )
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in names.items()]
        self._daemon("munged", "--foreground", "--force", *options, f"--log-file={self.folder / 'munged.log'}")
        self._until((self.folder / "munge.socket").exists, "munged's socket")
        self._daemon("slurmctld", "-D", "-i")
        self._daemon("slurmd", "-D", "-N", self.host)
        self._until(self._idle, "an idle node")

    def _idle(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.run("sinfo", "--noheader", "--format=%T") == "idle"
        return False

    def _daemon(self, *command: str) -> None:
        # Watched as an engine's workers are: even if the tests are killed, no daemon outlives them.
        watched = [sys.executable, scilab.planes.supervisor.__file__, str(os.getpid()), "new", *command]
        with open(self.folder / f"{command[0]}.out", "wb") as out:
            self._daemons[command[0]] = subprocess.Popen(
                watched, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def _until(self, condition, what: str) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            dead = [name for name, each in self._daemons.items() if each.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"no {what}: {dead or 'nothing'} ended; what they said:\n{self._said()}")
            time.sleep(0.1)

    def _said(self) -> str:
        files = [*sorted(self.folder.glob("*.out")), *sorted(self.folder.glob("*.log"))]
        return "\n".join(f"{file.name}: {file.read_text(errors='replace')[-2000:]}" for file in files)

    def processes(self) -> list[psutil.Process]:
        """Every process of this cluster: its daemons and jobs by their environment, slurmstepd (which has none) by
        its socket in our folder.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "slurmstepd":
                    ours = any(str(at.laddr).startswith(f"{self.folder}/") for at in process.net_connections("unix"))
                else:
                    ours = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if ours and process.pid != os.getpid():
                    found.append(process)
        return found

    def inside_jobs(self) -> list[psutil.Process]:
        """What still runs of the jobs: everything but the daemons and what watches them."""
        daemons = [psutil.Process(each.pid) for each in self._daemons.values()]
        mine = {process.pid for daemon in daemons for process in [daemon, *daemon.children(recursive=True)]}
        return [process for process in self.processes() if process.pid not in mine]

    def close(self) -> None:
        """End jobs, daemons and whatever else carries this cluster's configuration, then remove its folder."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.run("scancel", "--user=root")
            deadline = time.monotonic() + 5
            while self.jobs() and time.monotonic() < deadline:
                time.sleep(0.1)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for _ in range(5):
            left = self.processes()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not left:
                break
            psutil.wait_procs(left, timeout=2)
        shutil.rmtree(self.folder, ignore_errors=True)
