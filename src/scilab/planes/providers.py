"""How Parsl's providers start programs, where their own way harms a notebook's kernel.

It forks with ``preexec_fn``, which runs the libraries' fork handlers: OpenBLAS's ends its threads, and while another
thread multiplies matrices both wait for each other for ever. And LocalProvider starts a block through two shells, which
take an interrupt that reached the kernel while they were forked for one of theirs and end, or leave a second pool of
workers behind. Everything else is Parsl's own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider
from parsl.providers.cluster_provider import ClusterProvider

SUPERVISOR = Path(__file__).with_name("supervisor.py")


def spare_fork_handlers(provider: Any) -> None:
    """Have a scheduler's provider (Slurm, PBS, …) run its commands by vfork, with its own limit of time."""
    if not isinstance(provider, ClusterProvider):
        return

    def execute_wait(command: str, timeout: float | None = None) -> tuple[int, str, str]:
        limit = provider.cmd_timeout if timeout is None else timeout
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=limit, process_group=0)
        return done.returncode, done.stdout, done.stderr

    provider.execute_wait = execute_wait


class OwnGroupProvider(LocalProvider):
    """LocalProvider whose blocks have a process group of their own from the first moment, and end with this process."""

    def submit(self, command: str, tasks_per_node: int, job_name: str = "scilab") -> str:
        """Start one block; returns its process id, which is also its group's."""
        script = str(Path(self.script_dir).absolute() / f"{job_name}.{time.time()}.sh")
        launched = self.launcher(command, tasks_per_node, self.nodes_per_block, self.script_dir)
        self._write_submit_script(f"{self.worker_init}\n{launched}\n", script)
        # Where Parsl looks for the exit status ("-" while there is none) and the streams.
        Path(f"{script}.ec").write_text("-")
        kept = shlex.quote(script)
        block = subprocess.Popen(
            [sys.executable, str(SUPERVISOR), str(os.getpid()), "keep",
             "/bin/bash", "-c", f"bash {kept} >{kept}.out 2>{kept}.err; echo $? >{kept}.ec"],
            process_group=0, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.resources[str(block.pid)] = {
            "job_id": str(block.pid), "status": JobStatus(JobState.RUNNING), "remote_pid": block.pid,
            "script_path": script, "process": block,
        }  # fmt: skip
        return str(block.pid)

    def cancel(self, job_ids: list[str]) -> list[bool]:
        """End blocks with all their processes."""
        for job in job_ids:
            self.resources[job]["cancelled"] = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.resources[job]["process"].pid, signal.SIGTERM)
        return [True] * len(job_ids)

    @staticmethod
    def _is_alive(job_dict: dict[str, Any]) -> bool:
        # Our child: without being asked for its status, it would stay in the process table as if alive.
        return job_dict["process"].poll() is None
