"""Runs made elsewhere and shipped with scilab, so that there is something to look at before anything has run."""

from __future__ import annotations

from pathlib import Path

from scilab.runs import Journal, StoredRun

FOLDER = Path(__file__).parent / "recordings"


def recorded(kind: str, journal: Journal | None = None) -> StoredRun:
    """The shipped run of a kind of capability ("federation"), from the journal; put there, marked, if it is not yet.

    Raises:
        ValueError: there is none of this kind.
    """
    file = FOLDER / f"{kind}.scilab-run"
    if not file.is_file():
        kinds = ", ".join(sorted(path.stem for path in FOLDER.glob("*.scilab-run")))
        raise ValueError(f"there is no recorded run of kind {kind!r}; there is: {kinds}")
    return (journal or Journal()).import_(file, recorded=True)
