"""Folders that live as long as the process that asked for them, even if it is killed.

The name holds the owner's pid and start time, so the next process can tell a dead owner's folder from a live
one's and sweep it: a pid alone may have been given to somebody else since.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
import uuid
from pathlib import Path

import psutil

_PREFIX = "scilab-"


def _born(pid: int) -> str | None:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return None


def scratch_folder(parent: str | os.PathLike | None = None) -> Path:
    """A new private folder, removed when this process ends; folders of dead processes are swept first."""
    root = Path(parent or tempfile.gettempdir())
    host = socket.gethostname()
    for old in root.glob(f"{_PREFIX}*"):
        parts = old.name.removeprefix(_PREFIX).split("~")
        # Another host may share the file system: only our own dead are swept.
        if len(parts) == 4 and parts[0] == host and parts[1].isdigit() and _born(int(parts[1])) != parts[2]:
            shutil.rmtree(old, ignore_errors=True)
    folder = root / f"{_PREFIX}{host}~{os.getpid()}~{_born(os.getpid())}~{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder
