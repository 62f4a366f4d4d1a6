"""The one file that imports doccano-client, and what of a doccano server the rest may use.

doccano-client 1.2.8, the only version that a server of today understands, is typed for pydantic 1. pydantic 2 carries
that as `pydantic.v1`: it stands in for pydantic while the client is imported, all modules of it together, for a swap
of the top one alone leaves a mixture behind that breaks spaCy.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import requests

CLIENT = "1.2.8"
INSTALL = f"pip install --no-deps doccano-client=={CLIENT} (what it imports comes with scilab)"
ANSWER_S = 60.0
"""The longest silence of a server."""
_lock = threading.Lock()


class DoccanoError(RuntimeError):
    """doccano could not be used; the text says why, what was kept, and what to do."""


class Server(Protocol):
    """What `Doccano` needs of a server. Projects are dicts with id, name, allow_overlapping and grapheme_mode."""

    def login(self, username: str, password: str) -> None: ...

    def projects(self) -> list[dict[str, Any]]: ...

    def create_project(self, name: str, allow_overlapping: bool, grapheme_mode: bool) -> dict[str, Any]: ...

    def labels(self, project: int) -> list[str]: ...

    def create_label(self, project: int, text: str, color: str) -> None: ...

    def upload(self, project: int, path: Path, wait_s: float) -> list[str]: ...

    def download(self, project: int, folder: Path, approved: bool, wait_s: float) -> Path: ...

    def delete_examples(self, project: int, examples: list[int]) -> None: ...


def client_module(name: str) -> ModuleType:
    """A module of doccano-client ("models.project"), imported so that the process's own pydantic stays whole.

    Raises:
        DoccanoError: the client is not installed, or in another version, with the command that installs it.
    """
    try:
        found = version("doccano-client")
    except PackageNotFoundError:
        raise DoccanoError(f"doccano-client is not installed: {INSTALL}") from None
    if found != CLIENT:
        raise DoccanoError(
            f"doccano-client {found} is installed, and today's doccano needs {CLIENT}: {found} reads no JSONL from it. "
            f"A resolver picks the old one because of pydantic, so install it alone: {INSTALL}"
        )
    full = f"doccano_client.{name}"
    if full in sys.modules:
        return sys.modules[full]
    importlib.import_module("requests_toolbelt")
    with _lock, _pydantic_1():
        return importlib.import_module(full)


@contextlib.contextmanager
def _pydantic_1() -> Iterator[None]:
    """Within: `pydantic` and every `pydantic.x` in sys.modules are those of pydantic.v1, and nothing else."""
    importlib.import_module("pydantic.v1")
    own = {name: module for name, module in sys.modules.items() if f"{name}.".startswith("pydantic.")}
    # Version 1 imports parts of itself late, by their full name: those names stay.
    old = {name: module for name, module in own.items() if f"{name}.".startswith("pydantic.v1.")}
    stand_ins = {"pydantic" + name.removeprefix("pydantic.v1"): module for name, module in old.items()}
    try:
        for name in own:
            del sys.modules[name]
        sys.modules.update(stand_ins | old)
        yield
    finally:
        for name in [name for name in sys.modules if f"{name}.".startswith("pydantic.")]:
            if not f"{name}.".startswith("pydantic.v1."):
                del sys.modules[name]
        sys.modules.update(own)


class ClientServer:
    """A `Server` through doccano-client's own repositories, each of whose errors is a `DoccanoError`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._base = client_module("repositories.base").BaseRepository(self.url)
        # The client waits for ever for a server that has stopped answering.
        self._base._session.request = functools.partial(self._base._session.request, timeout=ANSWER_S)
        self._projects = client_module("repositories.project").ProjectRepository(self._base)
        self._labels = client_module("repositories.label_type").SpanTypeRepository(self._base)
        self._uploads = client_module("repositories.data_upload").DataUploadRepository(self._base)
        self._downloads = client_module("repositories.data_download").DataDownloadRepository(self._base)
        self._examples = client_module("repositories.example").ExampleRepository(self._base)
        self._tasks = client_module("repositories.task_status").TaskStatusRepository(self._base)

    def login(self, username: str, password: str) -> None:
        with self._plain(f"log in as {username!r}"):
            self._base.login(username, password)

    def projects(self) -> list[dict[str, Any]]:
        with self._plain("list its projects"):
            return [_as_dict(project) for project in self._projects.list()]

    def create_project(self, name: str, allow_overlapping: bool, grapheme_mode: bool) -> dict[str, Any]:
        models = client_module("models.project")
        with self._plain(f"create the project {name!r}"):
            return _as_dict(self._projects.create(models.Project(
                name=name, description=name, project_type=models.ProjectType.SEQUENCE_LABELING,
                allow_overlapping=allow_overlapping, grapheme_mode=grapheme_mode,
            )))  # fmt: skip

    def labels(self, project: int) -> list[str]:
        with self._plain("list a project's labels"):
            return [label.text for label in self._labels.list(project)]

    def create_label(self, project: int, text: str, color: str) -> None:
        models = client_module("models.label_type")
        with self._plain(f"create the label {text!r}"):
            self._labels.create(project, models.LabelType(text=text, background_color=color))

    def upload(self, project: int, path: Path, wait_s: float) -> list[str]:
        """Have a JSONL file read into a project; returns what doccano says was wrong with it."""
        task = client_module("models.data_upload").Task.SEQUENCE_LABELING
        with self._plain("read the file that was uploaded"):
            file = self._uploads.upload(str(path))
            # Without an encoding the server guesses one.
            number = self._uploads.ingest(
                project, [file], task, "JSONL", column_data="text", column_label="label", encoding="utf_8"
            )
            done = self._wait(number, wait_s)
        problems = [str(done.error)] if done.error else []
        told = (done.result or {}).get("error", []) if isinstance(done.result, dict) else [done.result]
        return problems + [str(each.get("message", each) if isinstance(each, dict) else each) for each in told if each]

    def download(self, project: int, folder: Path, approved: bool, wait_s: float) -> Path:
        """Have a project exported, one file for each user in one zip file; returns its path below `folder`."""
        with self._plain("export the project"):
            option = self._downloads.find_option_by_name(project, "JSONL")
            number = self._downloads.schedule_download(project, option, only_approved=approved)
            done = self._wait(number, wait_s)
            if done.error:
                raise DoccanoError(f"{self.url} could not export the project: {done.error}")
            return self._downloads.download(project, number, str(folder))

    def delete_examples(self, project: int, examples: list[int]) -> None:
        with self._plain("take back what arrived twice"):
            self._examples.bulk_delete(project, examples)

    def _wait(self, number: str, wait_s: float) -> Any:
        until, pause = time.monotonic() + wait_s, 0.05
        while not (status := self._tasks.get(number)).ready:
            if time.monotonic() > until:
                raise DoccanoError(
                    f"{self.url} has not done its work within {wait_s:g} s. Is its second process, `doccano task`, "
                    "running? Nothing here has changed; the same call may be made again"
                )
            time.sleep(pause)
            pause = min(1.0, 1.3 * pause)
        return status

    @contextlib.contextmanager
    def _plain(self, what: str) -> Iterator[None]:
        again = "Nothing here has changed; the same call may be made again"
        try:
            yield
        except requests.HTTPError as error:  # the client's DoccanoAPIError is one
            status = error.response.status_code if error.response is not None else 0
            if status in (401, 403) or "log in" in what:
                reason = "check the user's name and password" if "log in" in what else "ask for the role project_admin"
                raise DoccanoError(f"{self.url} refused to {what}: {_short(error)}; {reason}") from error
            raise DoccanoError(
                f"{self.url} could not {what} (HTTP {status}: {_short(error)}); its log says why, a full disk among "
                f"others. {again}"
            ) from error
        except requests.RequestException as error:
            raise DoccanoError(
                f"{self.url} does not answer, or is no doccano server ({_short(error)}); it could not {what}. {again}"
            ) from error


def _as_dict(project: Any) -> dict[str, Any]:
    return {name: getattr(project, name) for name in ("id", "name", "allow_overlapping", "grapheme_mode")}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + " …"
