"""Federated learning on trees of devices."""

from .fedavg import FedAvg
from .federation import Federation, Result
from .partition import by_key, dirichlet, iid, indices, resample, shards
from .policies import POLICIES, Asynchronous, Buffered, Deadline, Synchronous
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
from .staleness import STALENESS, constant, hinge, polynomial
from .stragglers import stragglers
from .strategies import STRATEGIES, FedAdam, FedProx, FedSGD
from .topology import Topology
from .wires import simulated

__all__ = [
    "POLICIES",
    "STALENESS",
    "STRATEGIES",
    "AggregatorFailed",
    "Asynchronous",
    "Buffered",
    "CohortFinished",
    "Deadline",
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
    "Synchronous",
    "Topology",
    "by_key",
    "constant",
    "dirichlet",
    "hinge",
    "iid",
    "indices",
    "polynomial",
    "resample",
    "shards",
    "simulated",
    "stragglers",
]
