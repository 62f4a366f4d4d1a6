"""Several engines as one: tasks say at which site they run, and what comes back comes in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .engine import Engine
from .session import Session
from .store import Store
from .tasks import Completion, EngineError


class Sites:
    """Engines by the names of their sites, over one data plane that all of them reach; tasks that name no site run at
    the first. The engines stay their owners': closing this closes none of them.

    Raises:
        ValueError: no engine, something else than engines, or engines over different stores.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        if not engines or not all(isinstance(name, str) and isinstance(e, Engine) for name, e in engines.items()):
            raise ValueError(f"sites must be one or more engines by name, not simulated ones, got {engines!r}")
        self.engines = dict(engines)
        self.store: Store = next(iter(self.engines.values())).store
        if other := [name for name, engine in self.engines.items() if engine.store is not self.store]:
            raise ValueError(
                f"sites {next(iter(self.engines))!r} and {other[0]!r} have data planes of their own; make one Store "
                "that all of them reach and give it to each engine"
            )
        self.name = "+".join(f"{site}: {engine.name}" for site, engine in self.engines.items())
        self.state = "ready"

    @property
    def workers(self) -> int:
        return sum(engine.workers for engine in self.engines.values())

    def start(self) -> Sites:
        """Begin to start all of them, in the background."""
        for engine in self.engines.values():
            engine.start()
        return self

    def session(self, name: str = "") -> SitesSession:
        """A line to all of them."""
        if self.state == "closed":
            raise EngineError(f"{self.name} is closed; make new sites")
        return SitesSession(self, name)

    def pump(self) -> None:
        """Send what there is room for, at every site."""
        for engine in self.engines.values():
            engine.pump()

    def close(self) -> None:
        """No more sessions."""
        self.state = "closed"

    def __enter__(self) -> Sites:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SitesSession(Session):
    """As :class:`Session`; :meth:`submit` takes ``at``, the name of a site."""

    def __init__(self, sites: Sites, name: str) -> None:
        super().__init__(sites, name)
        self._parts: dict[str, Session] = {}
        self._of: dict[int, Session] = {}
        try:
            for site, engine in sites.engines.items():
                self._parts[site] = engine.session(name)
        except EngineError:
            self.close()
            raise
        for part in self._parts.values():
            part.inbox, part.cache = self.inbox, self.cache

    @property
    def waiting(self) -> int:
        return sum(part.waiting for part in self._parts.values())

    def submit(self, function: Callable, *args: Any, at: str | None = None, **kwargs: Any) -> int:
        """As :meth:`Session.submit`, at a site; ValueError if there is no such site."""
        if at is not None and at not in self._parts:
            raise ValueError(f"there is no site {at!r}; there are {', '.join(self._parts)}")
        part = self._parts[at] if at is not None else next(iter(self._parts.values()))
        number = part.submit(function, *args, **kwargs)
        self._of[number] = part
        return number

    def send(self, command: Any) -> None:
        """As :meth:`Session.send`, to all sites."""
        for part in self._parts.values():
            if command in ("pause", "resume"):
                part.paused = command == "pause"
        super().send(command)

    def cancel(self, number: int) -> None:
        """As :meth:`Session.cancel`."""
        if number in self._of:
            self._of[number].cancel(number)

    def close(self) -> None:
        """As :meth:`Session.close`, at all sites."""
        self.closed = True
        for part in self._parts.values():
            part.close()

    def _delivered(self, completion: Completion) -> Completion:
        return self._of.pop(completion.task)._delivered(completion)


@contextlib.contextmanager
def opened(engine: Any) -> Iterator[Any]:
    """An engine for as long as it is needed: an engine or sites as they are; a name as `Engine.named` takes it, or
    names by site, opened over one data plane and closed again.

    Raises:
        ValueError: it is none of these.
    """
    with contextlib.ExitStack() as stack:
        if not isinstance(engine, Mapping):
            engine, owned = Engine.named(engine)
            if owned:
                stack.callback(engine.close)
            yield engine
            return
        alone = all(str(name).startswith("threads") for name in engine.values())
        store = stack.enter_context(Store.local() if alone else Store.file())
        engines = {site: stack.enter_context(Engine.named(name, store)[0]) for site, name in engine.items()}
        yield stack.enter_context(Sites(engines))
