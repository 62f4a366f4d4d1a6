"""Where work runs (the control plane, over Parsl) and where bytes live (the data plane, over ProxyStore)."""

from .engine import Engine
from .pool import usable_cores, visible_gpus
from .session import Session
from .sites import Sites, opened
from .store import INLINE_BYTES, Address, Key, Store, get, put
from .tasks import Completion, EngineError, Failure, Stopped, Timing
from .virtual import VirtualEngine
from .worker import cached

__all__ = [
    "INLINE_BYTES",
    "Address",
    "Completion",
    "Engine",
    "EngineError",
    "Failure",
    "Key",
    "Session",
    "Sites",
    "Stopped",
    "Store",
    "Timing",
    "VirtualEngine",
    "cached",
    "get",
    "opened",
    "put",
    "usable_cores",
    "visible_gpus",
]
