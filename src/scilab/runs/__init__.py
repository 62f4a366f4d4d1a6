"""Runs and the journal that remembers them."""

from .database import JournalError
from .journal import Journal
from .run import Run
from .stored import StoredRun

__all__ = ["Journal", "JournalError", "Run", "StoredRun"]
