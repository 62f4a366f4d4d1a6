"""Is this machine ready? Measured now, shown as a table, each trouble with what to do about it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version

from scilab.planes import Engine, usable_cores, visible_gpus
from scilab.runs import Journal

from .estimate import free_memory
from .words import duration, size

PACKAGES = (
    "torch", "parsl", "proxystore", "jupyterlab", "ipywidgets", "anywidget", "plotly", "spacy", "rdkit", "tblite",
    "doccano-client",
)  # fmt: skip
LEAST_FREE_BYTES = 1e9
LEAST_DISK_BYTES = 500e6


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and, where that is a trouble, what to do."""

    what: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Health:
    """What `health` found. Shown as a table in a notebook and as text elsewhere."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing needs attention."""
        return not any(check.advice for check in self.checks)

    def __repr__(self) -> str:
        width = max(len(check.what) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{'!' if check.advice else '✓'} {check.what.ljust(width)}  {check.found}")
            if check.advice:
                lines.append(f"  {' ' * width}  → {check.advice}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cell = "text-align:left;vertical-align:top;padding:2px 14px 2px 0"
        rows = []
        for check in self.checks:
            colour = "var(--jp-warn-color0, #b45309)" if check.advice else "var(--jp-success-color0, #15803d)"
            mark = "needs attention" if check.advice else "ready"
            advice = f'<br><span style="color:{colour}">→ {escape(check.advice)}</span>' if check.advice else ""
            rows.append(
                f'<tr style="background:transparent"><td style="{cell};color:{colour};white-space:nowrap">'
                f"{'!' if check.advice else '✓'} {mark}</td>"
                f'<td style="{cell};white-space:nowrap">{escape(check.what)}</td>'
                f'<td style="{cell}">{escape(check.found)}{advice}</td></tr>'
            )
        return f'<table style="margin-left:0">{"".join(rows)}</table>'


def health(journal: Journal | None = None, engines: bool = True) -> Health:
    """Look at processors, memory, devices, engines, packages and the journal; takes about five seconds.

    ``engines=False`` leaves out the start of worker threads and processes.
    """
    checks = [_python(), _cores(), _memory(), _devices()]
    if engines:
        checks += [_engine("threads", lambda: Engine.threads(1)), _engine("processes", lambda: Engine.processes(1))]
    return Health((*checks, _packages(), _journal(journal)))


def _python() -> Check:
    found = f"Python {platform.python_version()} on {platform.system()}, {platform.machine()}"
    wrong = not (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("Python", found, "scilab is tested with Python 3.11 to 3.13; use one of these" if wrong else "")


def _cores() -> Check:
    usable, there = usable_cores(), os.cpu_count() or 1
    return Check("Processor", f"{usable} of {there} cores usable by this kernel")


def _memory() -> Check:
    free = free_memory() or 0.0
    low = free < LEAST_FREE_BYTES
    return Check("Memory", f"{size(free)} free", "close other kernels: some notebooks want 1 GB" if low else "")


def _devices() -> Check:
    gpus = visible_gpus()
    if not gpus:
        return Check("Graphics cards", "none that torch can use; everything runs on the processor")
    import torch

    names = [torch.cuda.get_device_name(int(gpu)) for gpu in gpus]
    return Check("Graphics cards", ", ".join(names))


def _engine(name: str, make: Callable[[], Engine]) -> Check:
    began = time.perf_counter()
    try:
        with make() as engine, engine.session("health") as session:
            session.submit(sum, [2, 3], timeout_s=60.0)
            done = session.next(90.0)
            if done is None or done.value != 5:
                raise RuntimeError(done.failure if done else "no answer within 90 s")
            return Check(f"Engine of {name}", f"first result after {duration(time.perf_counter() - began)}")
    except Exception as error:
        return Check(f"Engine of {name}", "does not start", str(error))


def _packages() -> Check:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    # The client's metadata asks for an old pydantic, so that pip takes it only with --no-deps (see the README).
    extra = " --no-deps doccano-client==1.2.8" if missing == ["doccano-client"] else " -e ."
    advice = f"not installed: {', '.join(missing)}; pip install{extra}" if missing else ""
    return Check("Packages", ", ".join(found), advice)


def _journal(journal: Journal | None) -> Check:
    try:
        journal = journal or Journal()
        runs = len(journal.runs())
        disk = os.statvfs(journal.path.parent)
    except OSError as error:
        return Check("Journal", "cannot be used", str(error))
    free = disk.f_bavail * disk.f_frsize
    found = f"{journal.path}: {runs} run{'s' * (runs != 1)}, {size(journal.size_bytes)}; {size(free)} free on its disk"
    return Check("Journal", found, "the disk is nearly full: delete runs or files" * (free < LEAST_DISK_BYTES))
