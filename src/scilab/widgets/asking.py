"""What the page asks of a widget: messages are queued by the handler and done, in order, by the widget's worker."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any


class Asking:
    """Actions of a widget: ``{"action": "x", "args": {…}, "id": n}`` from the page calls ``do_x(**args)``.

    What it returns, or the sentence of what it raises, is the answer; a subclass adds actions by adding methods. It
    has a ``_worker``, a ``_publisher``, ``_flush()`` that sends what is true now, ``fields`` and what became of them as
    ``_form``.
    """

    _trouble: Mapping = {}  # message and details of what went wrong last

    def act(self, action: str, **args: Any) -> dict:
        """Do what a click does, and wait for it.

        Returns ``{"ok": bool, "message": str, …}``. Mistakes are not raised; they show as on the page.
        """
        if self._worker.current:  # an action that is made of others
            return self._perform(action, args)
        answer = self._worker.submit(self._perform, action, args).result()
        self._flush()
        return answer

    def _receive(self, _widget: Any, content: dict, buffers: list) -> None:
        self._worker.submit(self._answer, content, buffers)

    def _answer(self, content: dict, buffers: list) -> None:
        args = dict(content.get("args") or {})
        if buffers:
            args["data"] = buffers[0]
        answer = self._perform(content.get("action", ""), args)
        self._publisher.wake()
        self.send({"type": "answer", "id": content.get("id"), **answer})

    def _perform(self, action: str, args: Mapping) -> dict:
        try:
            handler = getattr(self, f"do_{action}", None)
            if handler is None:
                raise ValueError(f"This panel has no action {action!r}.")
            if action not in ("set", "refresh"):
                self._trouble = {}
            return {"ok": True, "message": "", **(handler(**args) or {})}
        except Exception as error:
            known = isinstance(error, ValueError | OSError)  # a sentence for the person; all else needs its details
            message = str(error) if known else f"{type(error).__name__}: {error}"
            self._trouble = {"message": message, "details": "" if known else traceback.format_exc()}
            return {"ok": False, "message": message}

    @property
    def errors(self) -> dict:
        """What is wrong with the fields: {field: sentence}."""
        return dict(self._form.errors)

    def set(self, **values: Any) -> dict:
        """Type values into the fields; returns what is wrong with them, {field: sentence}."""
        told = self.act("set", values=values)
        if not told["ok"]:
            raise ValueError(told["message"])
        return self.errors

    def _named(self, values: Mapping) -> None:
        """ValueError for a value that belongs to no field."""
        names = [field.name for field in self.fields]
        if unknown := [name for name in values if name not in names]:
            raise ValueError(f"There is no field {unknown[0]!r}; there are {', '.join(names)}.")
