"""The one thread of a panel that acts: what a person asks for is queued, and done here in order."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future


class Worker:
    """Runs submitted calls one by one in a daemon thread, which ends at `close` or when ``owner`` is forgotten."""

    def __init__(self, owner: object, name: str = "scilab-worker"):
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self._queue,), name=name, daemon=True)
        self._closed = False
        weakref.finalize(owner, self._queue.put, None)
        self._thread.start()

    def submit(self, call: Callable, *args) -> Future:
        """Queue a call; returns at once. The Future carries its value or its exception.

        Raises RuntimeError after `close`: nobody would do it.
        """
        if self._closed:
            raise RuntimeError("This panel was closed. Run its cell again to get a new one.")
        future: Future = Future()
        self._queue.put((future, call, args))
        return future

    @property
    def current(self) -> bool:
        """Whether the caller is the worker thread itself."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Finish what is queued, then end the thread; idempotent."""
        self._closed = True
        self._queue.put(None)
        if not self.current:
            self._thread.join(timeout=5)


def _work(waiting: queue.SimpleQueue) -> None:
    while (item := waiting.get()) is not None:
        future, call, args = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call(*args))
            except BaseException as error:  # carried to whoever asked
                future.set_exception(error)
        del item, future, call, args  # or this frame keeps the panel alive while it waits
