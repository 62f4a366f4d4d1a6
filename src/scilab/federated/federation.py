"""A federation as an iterator of records."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..planes import Engine, Stopped
from .deployment import Deployment
from .fedavg import FedAvg
from .partition import Partition, iid
from .round import Round
from .streams import stream
from .topology import Topology
from .training import Loss, Skeleton, local_sgd
from .versions import Version, tensors_of, unpack

TASK_S = 0.05
"""Small devices share a task until it takes about this long: a task costs the control plane a millisecond or two."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a federation made so far: the model, its accuracy and loss on the test data, the rounds done."""

    model: nn.Module
    accuracy: float | None
    loss: float | None
    rounds: int


class Federation:
    """Synchronous federated learning on a tree of devices (McMahan et al. 2017, weighted by samples at every tier).

    `train` and `test` are pairs (inputs (n, …), labels (n, …)) or torch Datasets that fit in memory; `partition` deals
    the training rows to the topology's workers. `loss(outputs, labels)` is a mean over its samples. `engine` is an
    `Engine` or a name such as "threads:2" (then one is opened for the run). Iterate to run: yields the records of
    `records`. The model that comes out depends on the arguments alone — not on the tree, the engine, the number of
    workers or the order of arrival — and is the same, to the bit, when resumed from any `state_dict`.

    Raises ValueError if the parts do not fit each other: it trains on one batch to see.
    """

    kind = "federation"

    def __init__(
        self, model: nn.Module, train: Any, topology: Topology, strategy: FedAvg | None = None, *, loss: Loss = cross_entropy,
        test: Any = None, partition: Partition | None = None, rounds: int = 10, engine: Any = "threads", seed: int = 0,
        values: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            raise ValueError(f"rounds must be a whole number from 1, got {rounds!r}")
        self.topology, self.strategy, self.loss, self.total, self.seed = (
            topology,
            strategy or FedAvg(),
            loss,
            rounds,
            seed,
        )
        self.partition, self._engine = partition or iid(), engine
        self._train = _pair(train, "train")
        self._test = None if test is None else _pair(test, "test")
        self._parts = self.partition(self._train[1].numpy(), len(topology.workers), stream(seed, "partition"))
        _check_parts(self._parts, len(self._train[1]), topology)
        self._model = copy.deepcopy(model)
        for name, tensor in tensors_of(self._model).items():
            if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor).all()):
                raise ValueError(f"the model's {name} is complex or holds NaN or infinity; give finite real values")
        draws, step_s = _try_step(self._model, loss, self._train, self.strategy)
        self._skeleton = Skeleton(self._model, loss, self.strategy, draws)
        steps = sum(-(-len(part) // (self.strategy.batch_size or len(part))) for part in self._parts) / len(self._parts)
        self._device_s = step_s * steps * self.strategy.local_epochs
        self._values = None if values is None else dict(values)
        self._state: dict[str, Any] = {
            "round": 0, "model": {name: tensor.detach().clone() for name, tensor in tensors_of(self._model).items()}, "history": [],
        }  # fmt: skip
        self._lock, self._session, self._early = threading.Lock(), None, []
        self._records: Any = None

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this federation is; with "values", all that `from_settings` needs."""
        model, test = self._model, self._test
        return {
            "values": self._values,
            "model": {"name": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters())},
            "samples": {"train": len(self._train[1]), "test": 0 if test is None else len(test[1])},
            "topology": self.topology.to_dict(),
            "strategy": {"name": type(self.strategy).__name__, **asdict(self.strategy)},
            "partition": repr(self.partition)
            if not callable(getattr(self.partition, "__get__", None))
            else self.partition.__name__,
            "loss": getattr(self.loss, "__name__", type(self.loss).__name__),
            "rounds": self.total,
            "seed": self.seed,
            "engine": self._engine if isinstance(self._engine, str) else self._engine.name,
        }

    @classmethod
    def from_settings(cls, values: Mapping[str, Any], engine: Any = None) -> Federation:
        """The federation that plain values describe (see `presets.DEFAULTS`), or the `settings` of one made so."""
        from .presets import federation_arguments

        return cls(**federation_arguments(values, engine))

    def __iter__(self) -> Iterator[Any]:
        """Run from the last finished round on."""
        if self._records is not None:
            raise RuntimeError("this federation is running; stop it before iterating again")
        self._records = self._run()
        return self._records

    def _run(self) -> Iterator[Any]:
        engine, owned = Engine.named(self._engine)
        with contextlib.ExitStack() as clean:
            clean.callback(self._ended)
            if owned:
                clean.callback(engine.close)
            session = engine.session(self.kind)
            deployment = None
            clean.callback(lambda: deployment and deployment.close())
            clean.callback(session.close)
            with self._lock:
                for command in self._early:
                    session.send(command)
                self._session = session
            with contextlib.suppress(Stopped):
                per_task = max(1, min(int(TASK_S / self._device_s), -(-len(self._parts) // (4 * engine.workers))))
                deployment = Deployment(
                    session,
                    engine.store,
                    self.topology,
                    self._skeleton,
                    self._train,
                    self._test,
                    self._parts,
                    per_task,
                    self.seed,
                )
                version = deployment.hold(engine.store.put(Version.of(list(self._filled().values()))))
                while self._state["round"] < self.total:
                    fresh, record = yield from Round(deployment, self._state["round"] + 1, version).run()
                    deployment.drop(version)
                    version = deployment.hold(fresh)
                    model = self._filled(engine.store.get(version).flats)
                    entry = {"round": record.round, "accuracy": record.accuracy, "loss": record.loss}
                    self._state = {
                        "round": record.round,
                        "model": {name: tensor.detach().clone() for name, tensor in model.items()},
                        "history": [*self._state["history"], entry],
                    }
                    yield record

    def _filled(self, flats: list[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The tensors of our copy of the model, holding `flats`, or else the state's."""
        tensors = tensors_of(self._model)
        if flats is not None:
            unpack(flats, tensors.values())
        else:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    tensor.copy_(self._state["model"][name])
        return tensors

    def _ended(self) -> None:
        with self._lock:
            self._session, self._early = None, []
        self._records = None

    def send(self, command: str) -> None:
        """Pause, resume or stop; from any thread, also before the start."""
        if command not in ("pause", "resume", "stop"):
            raise ValueError(f"a federation understands 'pause', 'resume' and 'stop', got {command!r}")
        with self._lock:
            if self._session is None:
                self._early.append(command)
            else:
                self._session.send(command)

    def state_dict(self) -> dict[str, Any]:
        """The state after the last finished round: its number, the model's tensors by name, the history."""
        return self._state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back, or on, to a `state_dict`; ValueError if it belongs to another model."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(self._model).items()}
        given = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
        if shapes != given:
            differ = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
            raise ValueError(f"this state is of another model: they differ in {', '.join(differ[:3])}")
        if self._records is not None:
            raise RuntimeError("this federation is running; stop it before loading a state")
        tensors = {name: tensor.clone() for name, tensor in state["model"].items()}
        self._state = {
            "round": int(state["round"]),
            "model": tensors,
            "history": [dict(entry) for entry in state["history"]],
        }

    @property
    def result(self) -> Result:
        """The model after the last finished round; a copy."""
        state, model = self._state, copy.deepcopy(self._model)
        with torch.no_grad():
            for name, tensor in tensors_of(model).items():
                tensor.copy_(state["model"][name])
        last = state["history"][-1] if state["history"] else {}
        return Result(model.eval(), last.get("accuracy"), last.get("loss"), state["round"])

    def close(self) -> None:
        """Stop if it runs; leaves nothing on the data plane. Idempotent."""
        records = self._records
        if records is not None:
            self.send("stop")
            with contextlib.suppress(ValueError):  # its own thread is inside and ends by the stop
                records.close()


def _pair(data: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    if not (isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, torch.Tensor) for part in data)):
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            raise ValueError(
                f"{name} must be a pair of tensors (inputs, labels) or a torch Dataset, got {type(data).__name__}"
            )
        rows = [data[row] for row in range(len(data))]
        data = (
            [torch.stack([torch.as_tensor(row[part]) for row in rows]) for part in (0, 1)]
            if rows
            else [torch.empty(0)] * 2
        )
    inputs, labels = (part.detach().cpu() for part in data)
    if len(inputs) != len(labels) or not len(labels):
        raise ValueError(f"{name} has {len(inputs)} inputs and {len(labels)} labels; give as many, and at least one")
    for part, what in ((inputs, "inputs"), (labels, "labels")):
        if part.is_floating_point() and not torch.isfinite(part).all():
            raise ValueError(f"{name} holds NaN or infinity in its {what}; replace or drop those rows")
    return inputs, labels


def _check_parts(parts: Any, rows: int, topology: Topology) -> None:
    if len(parts) != len(topology.workers):
        raise ValueError(f"the partition made {len(parts)} parts for {len(topology.workers)} workers")
    for worker, part in zip(topology.workers, parts, strict=True):
        if len(part) == 0:
            raise ValueError(f"worker {worker!r} has no data; take fewer workers or another partition")
        if np.min(part) < 0 or np.max(part) >= rows:
            raise ValueError(f"the partition gave worker {worker!r} a row outside 0 to {rows - 1}")


def _try_step(model: nn.Module, loss: Loss, train: tuple, strategy: FedAvg) -> tuple[bool, float]:
    """Train a copy on one batch: (whether the model draws from torch's global stream, seconds per step)."""
    inputs, labels = train
    count = min(strategy.batch_size or 16, len(labels))
    rows = torch.arange(count)
    if labels.dim() == 1:
        rows[0] = int(labels.argmax())  # the largest class, which a model with too few outputs cannot meet
    trial = copy.deepcopy(model)
    once = FedAvg(1, None, strategy.lr)
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        try:
            for _ in range(2):  # the first pays for torch's own set-up
                began = time.perf_counter()
                local_sgd(trial, loss, inputs[rows], labels[rows], once, torch.Generator())
        except Exception as error:
            raise ValueError(
                f"the model, the loss and the data do not fit each other: {type(error).__name__}: {error} "
                f"(inputs {tuple(inputs.shape)} {inputs.dtype}, labels {tuple(labels.shape)} {labels.dtype})"
            ) from error
        seconds = time.perf_counter() - began
        return not torch.equal(before, torch.random.get_rng_state()), seconds
