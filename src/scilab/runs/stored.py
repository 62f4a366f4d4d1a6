"""What the journal knows of a run, and what a run and its stored form show alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from .liveness import LIVE

if TYPE_CHECKING:
    from .journal import Journal

RESUMABLE = ("stopped", "failed", "interrupted")


class Shown:
    """The part that Run and StoredRun share, computed from their attributes."""

    @property
    def progress(self) -> dict[str, float | int | None]:
        """done, total (counting records that advance), rate_per_s, remaining_s, elapsed_s; None where unknown."""
        done, total, elapsed = self.done, self.total, self.elapsed
        rate = done / elapsed if done and elapsed > 0 else None
        remaining = None
        if self.status == "finished":
            remaining = 0.0
        elif self.status in LIVE and rate and total is not None:
            remaining = max(total - done, 0) / rate
        return {"done": done, "total": total, "rate_per_s": rate, "remaining_s": remaining, "elapsed_s": elapsed}

    @property
    def resumable(self) -> bool:
        """Whether Run.resume can take it up: it ended before its work was done, and is not a recording."""
        return self.status in RESUMABLE and not self.recorded

    def records(self, since: int = 0) -> list[dict]:
        """Records numbered above `since`, in order: {"n": number, "t": unix time, "kind": class name, **fields}.

        Numbers grow but have gaps where a resumed run superseded records. Pass the last "n" seen to get what is new.
        """
        return self.journal.records(self.id, since)

    def __repr__(self) -> str:
        total = "" if self.total is None else f" of {self.total}"
        status = "recorded" if self.recorded else self.status
        return f"<{type(self).__name__} {self.id} {self.name!r}: {self.kind}, {status}, {self.done}{total} done>"


@dataclass(frozen=True, repr=False)
class StoredRun(Shown):
    """A run as the journal had it when asked; records() reads anew. `journal.run(id)` gives a newer picture.

    `status` is "interrupted" where the kernel that drove the run is dead; `elapsed` in seconds; `created` unix time.
    """

    journal: Journal = field(compare=False)
    id: str
    name: str
    notes: str
    kind: str
    created: float
    recorded: bool
    status: str
    error: str | None
    count: int
    done: int
    total: int | None
    elapsed: float
    driver: str | None
    """Which process drives it, in words; None if none does."""

    @cached_property
    def settings(self) -> dict:
        """The capability's settings."""
        return json.loads(self.journal.settings_text(self.id))
