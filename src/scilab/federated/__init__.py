"""Federated learning on trees of devices."""

from .fedavg import FedAvg
from .federation import Federation, Result
from .partition import by_key, dirichlet, iid, indices, resample, shards
from .profile import Profile
from .records import DeviceFailed, DeviceFinished, Notice, RoundFinished, RoundStarted
from .round import RoundError
from .stragglers import stragglers
from .strategies import STRATEGIES, FedAdam, FedProx, FedSGD
from .topology import Topology
from .wires import simulated

__all__ = [
    "STRATEGIES",
    "DeviceFailed",
    "DeviceFinished",
    "FedAdam",
    "FedAvg",
    "FedProx",
    "FedSGD",
    "Federation",
    "Notice",
    "Profile",
    "Result",
    "RoundError",
    "RoundFinished",
    "RoundStarted",
    "Topology",
    "by_key",
    "dirichlet",
    "iid",
    "indices",
    "resample",
    "shards",
    "simulated",
    "stragglers",
]
