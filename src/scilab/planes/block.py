"""The local machine's block of workers, in a process group that is its own from its first moment.

Parsl's LocalProvider starts a block through two shells. They take an interrupt that reached the kernel while they were
forked for one of theirs and end, or leave a second pool of workers behind. Everything after the start is Parsl's own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider

SUPERVISOR = Path(__file__).with_name("supervisor.py")


class OwnGroupProvider(LocalProvider):
    """LocalProvider whose blocks are started without a shell, and end with this process."""

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

    @staticmethod
    def _is_alive(job_dict: dict[str, Any]) -> bool:
        # Our child: without being asked for its status, it would stay in the process table as if alive.
        return job_dict["process"].poll() is None
