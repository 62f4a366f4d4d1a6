"""The data plane: where bytes live while tasks carry only keys.

A thin layer over a ProxyStore connector. It adds what a connector has not: one serialisation per version, leases
counted by the owner (so that an object goes when its last reader is done, whatever became of the reader),
addresses reserved before a task runs (so that the owner can clear up behind a dead worker), small objects carried
inside their key, and bytes counted per edge.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .scratch import scratch_folder
from .serial import dumps, loads

INLINE_BYTES = 4096
"""Objects whose bytes are fewer than this travel inside their key (fixed, so that runs can be compared)."""


@dataclass(frozen=True)
class Place:
    """How any process reaches a store: its connector's class and configuration."""

    uid: str
    connector: str = field(compare=False)
    config: tuple = field(compare=False, repr=False)
    inline_bytes: int = INLINE_BYTES
    """Objects whose bytes are fewer travel inside their key."""


@dataclass(frozen=True)
class Key:
    """Names one stored object; small, hashable and picklable. ``nbytes`` is the size of its bytes."""

    place: Place
    name: tuple | None
    nbytes: int
    inline: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Address:
    """A place reserved by the owner for an object that a task will :func:`put`."""

    place: Place
    name: tuple | None


_connectors: dict[str, Any] = {}
_owners: dict[str, Store] = {}
_connecting = threading.Lock()
_task = threading.local()


def _connector(place: Place) -> Any:
    with _connecting:
        found = _connectors.get(place.uid)
        if found is None:
            module, _, name = place.connector.rpartition(".")
            if name == "LocalConnector":
                raise ValueError(
                    "a local data plane lives in the memory of one process and this task runs in another; "
                    "give the engine a file, Redis or endpoint store"
                )
            cls = getattr(importlib.import_module(module), name)
            found = _connectors[place.uid] = _quick_to_give_up(cls.from_config(dict(place.config)))
        return found


def _answered(place: Place, act: Callable, *args: Any) -> Any:
    try:
        return act(*args)
    except Exception as error:
        # A connector's own error may be an assertion without a word.
        kind = place.connector.rpartition(".")[2].removesuffix("Connector").lower()
        raise OSError(f"the data plane ({kind}) does not answer: {type(error).__name__} {error}") from error


def _quick_to_give_up(connector: Any) -> Any:
    """A Redis that is gone is said to be gone at once; its client would otherwise try for seconds, each time."""
    client = getattr(connector, "_redis_client", None)
    if client is not None:
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry

        client.set_retry(Retry(ExponentialBackoff(cap=0.2, base=0.02), 2))
    return connector


def _name(parts: tuple) -> Any:
    # Connector keys are NamedTuples; as plain tuples they pickle small and without importing the connector.
    kind, *values = parts
    module, _, cls = kind.rpartition(".")
    return getattr(importlib.import_module(module), cls)(*values)


def _parts(key: Any) -> tuple:
    return (f"{type(key).__module__}.{type(key).__qualname__}", *key)


def start_counting() -> None:
    """Begin a task: what it reads and writes is counted from here."""
    _task.edges, _task.created = {}, []


def counted() -> tuple[tuple, tuple]:
    """What the task moved, as ((edge, bytes), …), and the keys it made at addresses not reserved before."""
    edges, created = getattr(_task, "edges", None), getattr(_task, "created", None)
    return tuple(edges.items()) if edges else (), tuple(created) if created else ()


def _count(edge: Any, nbytes: int) -> None:
    if edge is not None and hasattr(_task, "edges"):
        _task.edges[edge] = _task.edges.get(edge, 0) + nbytes


def get(key: Key, edge: Any = None, readers: int = 1) -> Any:
    """The object under ``key``, fresh: no other task sees the same memory. Called inside tasks.

    ``edge`` names the link these bytes travel (any small hashable value); the store's owner adds them up, once for
    each of ``readers`` that a task stands for.

    Raises:
        LookupError: the object is no longer there.
    """
    if key.inline is not None:
        data = key.inline
    else:
        connector = _connector(key.place)
        data = _answered(key.place, connector.get, _name(key.name))
        if data is None:
            raise LookupError(f"object {key.name[1:]} is no longer on the data plane: its lease has ended")
    _count(edge, readers * key.nbytes)
    return loads(data)


def put(address: Address, obj: Any, edge: Any = None, nbytes: int | None = None) -> Key:
    """Store ``obj`` at a reserved address. Called inside tasks.

    ``edge`` names the link these bytes travel; ``nbytes`` is what to count there, if the task stands for several
    senders and ``obj`` is what became of theirs.

    Raises:
        TypeError: the object cannot be pickled.
    """
    data = dumps(obj)
    _count(edge, len(data) if nbytes is None else nbytes)
    if len(data) < address.place.inline_bytes:
        return Key(address.place, address.name, len(data), data)
    connector = _connector(address.place)
    if address.name is None:
        key = Key(address.place, _parts(_answered(address.place, connector.put, data)), len(data))
        _task.created.append(key)
        return key
    owner = _owners.get(address.place.uid)
    # An abandoned thread may still be running after its task was given up: it must not leave an object behind.
    if owner is None or owner.holds(address):
        _answered(address.place, connector.set, _name(address.name), data)
    return Key(address.place, address.name, len(data))


class Store:
    """One data plane, owned by the process that made it. Thread-safe.

    Make one with :meth:`local` (threads of this process), :meth:`file` (a folder that all workers see),
    :meth:`redis`, :meth:`endpoint` (ProxyStore endpoints, between sites) or :meth:`connect` (any ProxyStore
    connector, Globus transfer among them).
    """

    def __init__(self, connector: Any, inline_bytes: int = INLINE_BYTES) -> None:
        kind = f"{type(connector).__module__}.{type(connector).__qualname__}"
        self._connector = _quick_to_give_up(connector)
        self.unreachable = 0
        """Objects that could not be evicted because their server was gone (and they with it, or left to it)."""
        self.place = Place(uuid.uuid4().hex, kind, tuple(connector.config().items()), inline_bytes)
        self._leases: Counter = Counter()
        self._bytes: Counter = Counter()
        self._lock = threading.RLock()
        self._closed = False
        self._reserves = hasattr(connector, "new_key") and hasattr(connector, "set")
        _connectors[self.place.uid] = connector
        _owners[self.place.uid] = self
        _open_stores.add(self)

    def __repr__(self) -> str:
        lost = f", {self.unreachable} out of reach" if self.unreachable else ""
        return f"Store({self.kind}, {self.count()} objects{lost})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def kind(self) -> str:
        return self.place.connector.rpartition(".")[2].removesuffix("Connector").lower()

    @classmethod
    def local(cls) -> Store:
        """In the memory of this process: for engines of threads."""
        from proxystore.connectors.local import LocalConnector

        return cls(LocalConnector())

    @classmethod
    def file(cls, folder: str | Path | None = None) -> Store:
        """In files below ``folder`` (default: a scratch folder on this machine), which all workers must see."""
        from proxystore.connectors.file import FileConnector

        return cls(FileConnector(str(scratch_folder(folder))))

    @classmethod
    def redis(cls, host: str = "127.0.0.1", port: int = 6379) -> Store:
        """In a Redis server.

        Raises:
            ValueError: no server answers there.
        """
        from proxystore.connectors.redis import RedisConnector

        connector = _quick_to_give_up(RedisConnector(host, port))
        try:
            connector._redis_client.ping()
        except Exception as error:
            raise ValueError(
                f"no Redis server answers at {host}:{port} ({error}); start one with `redis-server --port {port}` "
                "or give the host and port of a running one"
            ) from None
        return cls(connector)

    @classmethod
    def endpoint(
        cls, endpoints: list[str], proxystore_dir: str | None = None, inline_bytes: int = INLINE_BYTES
    ) -> Store:  # fmt: skip
        """In ProxyStore endpoints given by their UUIDs; each site runs one (``proxystore-endpoint start``). Objects of
        fewer than ``inline_bytes`` travel with the tasks, by value.

        An endpoint takes objects of 100 MB at most unless its configuration (``storage.max_object_size``) says more.

        Raises:
            ValueError: none of them answers on this machine.
        """
        from proxystore.connectors.endpoint import EndpointConnector

        try:
            return cls(EndpointConnector(endpoints, proxystore_dir), inline_bytes)
        except Exception as error:
            raise ValueError(
                f"none of the endpoints {endpoints} answers on this machine ({error}); start one with "
                "`proxystore-endpoint start NAME`, and see `proxystore-endpoint list`"
            ) from error

    @classmethod
    def connect(cls, connector: Any) -> Store:
        """Over any ProxyStore connector, for instance ``GlobusConnector`` between two sites' file systems."""
        return cls(connector)

    def put(self, obj: Any, edge: Any = None) -> Key:
        """Serialise ``obj`` once and hold it under one lease."""
        data = dumps(obj)
        if edge is not None:
            self.add_edges([(edge, len(data))])
        if len(data) < self.place.inline_bytes:
            return Key(self.place, None, len(data), data)
        with self._lock:
            self._open()
            key = Key(self.place, _parts(_answered(self.place, self._connector.put, data)), len(data))
            self._leases[key.name] = 1
            return key

    def get(self, key: Key, edge: Any = None) -> Any:
        """The object under ``key``, in memory of its own; LookupError when its lease has ended."""
        if edge is not None:
            self.add_edges([(edge, key.nbytes)])
        return get(key)

    def address(self, at_writer: bool = False) -> Address:
        """Reserve a place, under one lease, for what a task will put there. ``at_writer``, of a data plane with several
        sites: at the site where the task runs, which is known, and leased, only when the task has ended.
        """
        with self._lock:
            self._open()
            if not self._reserves or (at_writer and self.kind == "endpoint"):
                return Address(self.place, None)
            name = _parts(self._connector.new_key())
            self._leases[name] = 1
            return Address(self.place, name)

    def lease(self, key: Key | Address) -> None:
        """One reader more."""
        with self._lock:
            if key.name is None or self._closed:
                return
            if self._leases[key.name] < 1:
                raise LookupError(f"object {key.name[1:]} is no longer on the data plane: its lease has ended")
            self._leases[key.name] += 1

    def release(self, key: Key | Address) -> None:
        """One reader fewer; the object goes with the last."""
        with self._lock:
            if key.name is None or self._closed:
                return
            if self._leases[key.name] < 1:
                raise ValueError(f"object {key.name[1:]} was released more often than it was leased")
            self._leases[key.name] -= 1
            if not self._leases[key.name]:
                del self._leases[key.name]
                self._evict(key.name)

    def holds(self, key: Key | Address) -> bool:
        with self._lock:
            return not self._closed and key.name is not None and self._leases[key.name] > 0

    def adopt(self, key: Key) -> None:
        """Take over an object that a task made at a place of its own choosing, under one lease."""
        with self._lock:
            if not self._closed and key.name is not None and key.name not in self._leases:
                self._leases[key.name] = 1

    def clear_behind(self, addresses: tuple) -> None:
        """Remove what an abandoned task wrote after its addresses had been released."""
        with self._lock:
            for address in addresses:
                if address.name is not None and not self._closed and not self.holds(address):
                    self._evict(address.name)

    def count(self) -> int:
        """How many objects and reserved addresses are held; 0 when every lease has ended."""
        with self._lock:
            return sum(1 for n in self._leases.values() if n > 0)

    def add_edges(self, edges: Any) -> None:
        with self._lock:
            for edge, nbytes in edges:
                self._bytes[edge] += nbytes

    def bytes_by_edge(self) -> dict:
        """Bytes moved so far on each named edge."""
        with self._lock:
            return dict(self._bytes)

    def close(self) -> None:
        """Evict everything that is still held and let the connector go. Idempotent."""
        with self._lock:
            if self._closed:
                return
            for name in list(self._leases):
                self._evict(name)
            self._leases.clear()
            self._closed = True
            _connectors.pop(self.place.uid, None)
            _owners.pop(self.place.uid, None)
            _open_stores.discard(self)
            self._connector.close()

    def _open(self) -> None:
        if self._closed:
            raise ValueError("this data plane is closed; make a new engine or store")

    def _evict(self, name: tuple) -> None:
        # Where a lease ends nothing else may break: a task's completion depends on it.
        try:
            self._connector.evict(_name(name))
        except Exception:
            self.unreachable += 1


_open_stores: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_stores() -> None:
    """Objects in a Redis or at an endpoint do not outlive the process that owned them."""
    for store in list(_open_stores):
        with contextlib.suppress(Exception):
            store.close()
