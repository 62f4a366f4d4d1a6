"""What a launch will cost, said before it: always an estimate, and always called one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scilab.widgets.words import duration, size


@dataclass(frozen=True)
class Estimate:
    """Seconds, bytes of memory at the peak, and tasks; None for what cannot be told. ``note`` is added as it is."""

    seconds: float | None = None
    memory_bytes: float | None = None
    tasks: int | None = None
    note: str = ""

    def describe(self, free_bytes: float | None = None) -> dict:
        """``text`` for the panel and ``fits``: whether the memory is there (None where either is unknown)."""
        parts = [f"about {duration(self.seconds)}".replace("about under", "under") if self.seconds is not None else "",
                 f"{size(self.memory_bytes)} of memory" if self.memory_bytes is not None else "",
                 f"{self.tasks:,} tasks" if self.tasks is not None else ""]
        fits = None if None in (self.memory_bytes, free_bytes) else self.memory_bytes <= free_bytes
        text = f"Estimated: {', '.join(part for part in parts if part) or '–'}."
        if fits is not None:
            text += (f" Fits this machine ({size(free_bytes)} free)." if fits else
                     f" More than this machine has free ({size(free_bytes)}): take fewer workers or less data.")
        return {"text": f"{text} {self.note}".strip(), "fits": fits}


def free_memory() -> float | None:
    """Bytes a new run can use here: what the machine has free, or less where a container sets a limit, as on Binder."""
    import psutil

    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, float(limit) - float((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(free, 0.0)
