"""A JupyterLab on loopback that reads and writes nothing of the person who starts it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S = 90

# No question about news, nothing saved unless a test saves, and every cell in the page for the screenshots.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
}


@dataclass(frozen=True)
class LabServer:
    """A running server: what a browser needs to open a notebook, and where its files are."""

    url: str
    token: str
    root: Path
    """The folder it serves; a test may write notebooks into it."""
    scratch: Path
    """Settings, run-time files and the journal."""

    @property
    def journal(self) -> Path:
        """The journal of its kernels."""
        return self.scratch / "journal.db"

    @property
    def log(self) -> Path:
        return self.scratch / "lab.log"

    def renew(self) -> None:
        """No kernel, no notebook, no journal, no setting that somebody chose."""
        self.end_kernels()
        for path in (*self.root.iterdir(), *self.scratch.glob("journal.db*"), self.scratch / "settings"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for plugin, values in SETTINGS.items():
            path = self.scratch / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def end_kernels(self) -> None:
        for session in json.loads(self._ask("GET", "sessions")):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, what: str) -> bytes:
        request = urllib.request.Request(f"{self.url}/api/{what}?token={self.token}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


@contextlib.contextmanager
def serve(root: Path, scratch: Path) -> Iterator[LabServer]:
    """Serve ``root``; settings, run-time files and the journal live in ``scratch``."""
    port, token = free_port(), secrets.token_hex(8)
    server = LabServer(f"http://127.0.0.1:{port}", token, root, scratch)
    arguments = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": root,
        "ServerApp.allow_root": True,
        "ServerApp.open_browser": False,
        "ServerApp.use_redirect_file": False,
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,  # the page object reads cells and kernel from the application
        "LabApp.extension_manager": "readonly",
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.user_settings_dir": scratch / "settings",
        "LabApp.workspaces_dir": scratch / "workspaces",
    }
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_DATA_DIR": str(scratch / "data"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "run"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "SCILAB_JOURNAL": str(server.journal),
    }
    options = [f"--{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with server.log.open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_up(process, server)
        yield server
    finally:
        shut_down(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(process: subprocess.Popen, server: LabServer) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{server.url}/api/status?token={server.token}", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start within {START_S} s:\n{server.log.read_text()[-3000:]}")


def shut_down(process: subprocess.Popen) -> None:
    """SIGTERM makes the server end its kernels; what is left of its process group after 8 s is killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(8)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
