"""Who drives a run, if anybody does."""

from ..storage import liveness

LIVE = ("starting", "running", "pausing", "paused", "stopping")  # statuses of a run that somebody drives


def driver(status: str, host: str, pid: int, born: float, heartbeat: float, claim: str) -> str | None:
    """Who drives a run with this journal row, in words for a message; None if nobody does."""
    return liveness.holder(host, pid, born, heartbeat, claim) if status in LIVE else None
