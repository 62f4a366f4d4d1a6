"""A real doccano 1.8.4 on the loopback: its own environment, made once and kept in .doccano, and its two processes."""

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".doccano"
# doccano 1.8.4 and what it needs, as pip resolved it with 'marshmallow<4' 'numpy<2', without which it does not start.
PACKAGES = Path(__file__).parent / "doccano_packages.txt"
USERS = {"ada": "first-secret", "grace": "second-secret"}
# Polls its queue ten times a second, not once.
SETTINGS = """
from config.settings.production import *
from kombu.transport import sqlalchemy
sqlalchemy.Transport.polling_interval = 0.1
"""


def suitable_python():
    """A Python 3.11, which doccano 1.8.4 with its pandas 1 runs on; None if there is none here."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    right = "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))"
    return found if found and subprocess.run([found, "-c", right], capture_output=True).returncode == 0 else None


def installed():
    """The Python of an environment that holds the server; made when first asked for, which takes a minute or two."""
    FOLDER.mkdir(exist_ok=True)
    python, stamp = FOLDER / "venv" / "bin" / "python", FOLDER / "installed"
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be making it
        if not stamp.exists() or stamp.read_text() != PACKAGES.read_text():
            run([suitable_python(), "-m", "venv", "--clear", FOLDER / "venv"])
            flags = shlex.split(os.environ.get("PIP_FLAGS", ""))
            quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
            run([python, "-m", "pip", "install", *quiet, *flags, "-r", PACKAGES])
            stamp.write_text(PACKAGES.read_text())
        if not (FOLDER / "home" / "db.sqlite3").exists():
            make_home(python)
    return python


def make_home(python):
    """A database with its tables and two users, to start every server from."""
    with_tables = FOLDER / "home.new"
    shutil.rmtree(with_tables, ignore_errors=True)
    with_tables.mkdir()
    doccano = [python.parent / "doccano"]
    variables = environment(with_tables, python)
    run([*doccano, "init"], env=variables)
    for name, password in USERS.items():
        user = ["--username", name, "--password", password, "--email", f"{name}@example.org"]
        run([*doccano, "createuser", *user], env=variables)
    os.replace(with_tables, FOLDER / "home")


def run(words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def environment(home, python):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO", "CELERY"))}
    (home / "doccano_test_settings.py").write_text(SETTINGS)
    return kept | {
        "DOCCANO_HOME": str(home),
        "STANDALONE": "True",
        "DJANGO_SETTINGS_MODULE": "doccano_test_settings",
        "PYTHONPATH": str(home),
        "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
        "MEDIA_ROOT": str(home / "media"),
        "SECRET_KEY": secrets.token_hex(32),
    }


class DoccanoServer:
    """gunicorn on 127.0.0.1, and the process that reads what was uploaded."""

    def __init__(self, home):
        python = installed()
        shutil.copytree(FOLDER / "home", home, dirs_exist_ok=True)
        (home / "media").mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.home = f"http://127.0.0.1:{port}", home
        backend = next((FOLDER / "venv" / "lib").glob("python*/site-packages/backend"))
        variables = environment(home, python)
        self.web = self._start(
            [python, "-m", "gunicorn", "--chdir", backend, "--bind", f"127.0.0.1:{port}", "config.wsgi"],
            variables,
        )
        self.reader = self._start(
            [python, "-m", "celery", "--app=config", f"--workdir={backend}", "worker", "--pool=solo", "--loglevel=info",
             "--without-gossip", "--without-mingle"],
            variables,
        )  # fmt: skip
        until = time.monotonic() + 60
        while not self._answers():
            assert self.web.poll() is None and time.monotonic() < until, (home / "log").read_text()[-3000:]
            time.sleep(0.1)

    def _start(self, words, variables):
        with open(self.home / "log", "a") as log:
            return subprocess.Popen(
                [str(word) for word in words], env=variables, cwd=self.home, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _answers(self):
        try:
            urllib.request.urlopen(f"{self.url}/v1/me", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def close(self):
        for process in (self.web, self.reader):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
