"""SQLite files that several kernels may want at once: opened, guarded, and their troubles put in words."""

from .database import Database, DatabaseError
from .holding import Holding

__all__ = ["Database", "DatabaseError", "Holding"]
