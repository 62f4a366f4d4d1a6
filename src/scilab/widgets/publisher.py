"""Sending to the page: at most ten times a second, nothing in between lost for good, the last state always sent.

The Jupyter server stops passing messages on above about 1,000 a second, so a panel never sends when something happens;
it says that something did (`wake`), and the one publisher thread sends what is true by then.
"""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from collections.abc import Callable

INTERVAL_S = 0.1


class Publisher:
    """Calls ``flush`` soon after `wake`, from one daemon thread, at most once per ``interval_s``.

    ``flush`` is held weakly (a bound method): a forgotten panel does not live on because of its thread. Every `wake`
    is followed by a flush that starts after it, so the final state is always sent.
    """

    def __init__(self, flush: Callable[[], None], interval_s: float = INTERVAL_S, name: str = "scilab-publisher"):
        self.interval_s = interval_s
        self._idle_s: float | None = None
        self._flush = weakref.WeakMethod(flush)
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        weakref.finalize(flush.__self__, self._end)
        self._thread.start()

    def wake(self) -> None:
        """Something changed. Returns at once; safe from any thread."""
        self._wake.set()

    def look_every(self, seconds: float | None) -> None:
        """Flush at least so often from now on, also where nothing wakes: a run in another kernel cannot."""
        if seconds != self._idle_s:
            self._idle_s = seconds
            self.wake()

    def close(self) -> None:
        """End the thread; idempotent. What was not sent stays unsent: flush before closing."""
        self._end()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _end(self) -> None:
        self._closed = True
        self._wake.set()

    def _loop(self) -> None:
        while True:
            self._wake.wait(self._idle_s)
            if self._closed:
                return
            self._wake.clear()
            flush = self._flush()
            if flush is None:
                return
            try:
                flush()
            except Exception:
                traceback.print_exc()  # shown by JupyterLab's log; the next state is tried all the same
            del flush  # or this frame keeps the panel alive while it waits
            time.sleep(self.interval_s)
