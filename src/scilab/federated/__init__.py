"""Federated learning on trees of devices."""

from .fedavg import FedAvg
from .federation import Federation, Result
from .partition import dirichlet, iid
from .records import DeviceFailed, DeviceFinished, Notice, RoundFinished, RoundStarted
from .round import RoundError
from .topology import Topology

__all__ = [
    "DeviceFailed",
    "DeviceFinished",
    "FedAvg",
    "Federation",
    "Notice",
    "Result",
    "RoundError",
    "RoundFinished",
    "RoundStarted",
    "Topology",
    "dirichlet",
    "iid",
]
