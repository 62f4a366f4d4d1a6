"""Federated learning on trees of devices."""

from .fedavg import FedAvg
from .federation import Federation, Result
from .partition import by_key, dirichlet, iid, indices, resample, shards
from .profile import Profile
from .records import (
    AggregatorFailed,
    CohortFinished,
    DeviceFailed,
    DeviceFinished,
    DevicesFailed,
    Notice,
    RoundFinished,
    RoundStarted,
)
from .round import RoundError
from .strategies import STRATEGIES, FedAdam, FedProx, FedSGD
from .topology import Topology
from .wires import simulated

__all__ = [
    "STRATEGIES",
    "AggregatorFailed",
    "CohortFinished",
    "DeviceFailed",
    "DeviceFinished",
    "DevicesFailed",
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
]
