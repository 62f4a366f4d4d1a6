"""A federation as an iterator of records."""

from __future__ import annotations

import contextlib
import copy
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..planes import Completion, Engine, Stopped
from .buffers import check_buffers, own_names
from .checks import as_pair, check_parts, check_sites, try_step
from .cohort import fitting
from .contributions import nothing
from .deployment import Deployment
from .fedavg import FedAvg
from .flow import Flow
from .flow_state import restore, snapshot
from .layout import Layout, fill, pack, tensors_of
from .partition import Partition, iid
from .policies import Deadline, Synchronous, as_policies, plain_policy
from .records import Notice, RoundFinished
from .round import Round
from .strategies import as_strategy
from .streams import stream
from .topology import Topology
from .training import Loss, Skeleton
from .wires import Wires, simulated

TASK_S, LONG_TASK_S, TASK_BYTES = 0.05, 0.5, 4 << 20
"""Small devices share a task until it takes about this long, or its updates this much: a task costs the control plane
a millisecond or two, an object on the data plane a tenth of one. Where only sums are left, a task takes longer."""
COHORT_GAIN = 8
"""How much faster a device trains in a cohort, roughly: only the size of tasks depends on it."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a federation has made so far: the model, its accuracy and loss on the test data, the rounds done."""

    model: nn.Module
    accuracy: float | None
    loss: float | None
    rounds: int


class Federation:
    """Federated learning on a tree of devices (McMahan et al. 2017), weighted by samples at every tier.

    `train` and `test` are pairs (inputs (n, …), labels (n, …)) or torch Datasets that fit in memory; `partition` deals
    the training rows to the topology's workers. `loss(outputs, labels)` is a mean over its samples. `engine` is an
    `Engine`, `Sites` (several, among which profiles choose), a name such as "threads:2" (then one is opened for the
    run), or "virtual": real results in simulated time, by the topology's profiles. Aggregators pass up exact sums of 64
    bits a number or, with `partials="float32"`, means of the model's own type. With `network`, another tree over the
    same devices, messages take its links: bytes are counted, and in simulated time last, hop by hop. `buffers` says
    what becomes of running means and variances: "mean", "pooled" or "keep", see `buffers`. So many devices as `cohort`
    says train as one batch (None: what suits the model's size and their number; 1: one by one); where that cannot be,
    `alone` says why, and it is 1. `values` are kept for `settings`. Iterate to run: yields the records of `records`.
    Where all tiers are synchronous, the model that comes out depends on the arguments alone: with exact sums not on the
    tree, and never on the engine, the number of workers or the order of arrival. Under other policies the order of
    arrival is part of the result; simulated time decides it by the profiles alone. Resumed from any `state_dict`, what
    comes out is the same to the bit in both cases.

    Raises ValueError if the parts do not fit each other: it trains on one batch to see.
    """

    kind = "federation"

    def __init__(
        self, model: nn.Module, train: Any, topology: Topology, strategy: FedAvg | str | None = None, *,
        test: Any = None, loss: Loss = cross_entropy, partition: Partition | None = None, rounds: int = 10,
        engine: Any = "threads", seed: int = 0, partials: str = "float64", network: Topology | None = None,
        buffers: str = "mean", policies: Any = None, cohort: int | None = None, values: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            raise ValueError(f"rounds must be a whole number from 1, got {rounds!r}")
        if partials not in ("float64", "float32"):
            raise ValueError(f"partials must be 'float64' (the same bits on every tree) or 'float32', got {partials!r}")
        self.partials, self._wires = partials, Wires(topology, network)
        self.topology, self.strategy, self.total, self.seed = topology, as_strategy(strategy), rounds, seed
        self.policies = as_policies(policies, topology)
        self._flows = any(not isinstance(policy, Synchronous) for policy in self.policies)
        # what is under way makes sense under the same policies, on the same tree, only
        self._flows_over = repr((self.policies, stream(0, repr(topology.nodes)))) if self._flows else None
        chooses = self.strategy.fraction < 1 or self.strategy.replaces("select")
        if chooses and not all(policy.waits for policy in self.policies):
            raise ValueError(
                f"the strategy chooses devices (fraction is {self.strategy.fraction}), and a tier is buffered or "
                "asynchronous: where nobody waits there is no round to choose devices for; take fraction 1.0, or "
                "synchronous and deadline policies"
            )
        self.partition, self._engine, self._values = partition or iid(), engine, values
        check_sites(topology, engine)
        self._train, self._test = as_pair(train, "train"), None if test is None else as_pair(test, "test")
        self._parts = self.partition(self._train[1].numpy(), len(topology.leaves), stream(seed, "partition"))
        mean = check_parts(self._parts, len(self._train[1]), topology) / len(self._parts)
        batch = min(self.strategy.batch_size or mean, mean)
        draws, step_s = try_step(model, loss, self._train, self.strategy, max(2, round(batch)))
        self._device_s = step_s * self.strategy.local_epochs * mean / batch
        self.cohort, self.alone = 1, "where a tier does not wait for all, devices come one by one"
        if any(profile.engine for _, profile in topology.profiles):
            self.alone = "devices train at the sites that their profiles name"
        elif buffers == "keep":
            self.alone = "each device starts from tensors of its own"
        elif not self._flows:
            self.cohort, self.alone = fitting(cohort, model, loss, self._train, self.strategy, self._parts, draws)
        check_buffers(buffers, model)
        if buffers != "mean" and self._flows:
            raise ValueError(f"buffers is {buffers!r}, and a tier does not wait for all; take 'mean' there")
        self.buffers = buffers
        self._skeleton = Skeleton(copy.deepcopy(model), loss, self.strategy, draws, self.cohort, buffers)
        self._state = {"round": 0, "model": _copies(tensors_of(model)), "history": [], "server": []}
        self._lock, self._session, self._early = threading.Lock(), None, []
        self._records = None  # weakly: a loop that is left with `break` ends the run

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this federation is; with "values", all that `from_settings` needs."""
        model, loss = self._skeleton.model, self._skeleton.loss
        return {
            "values": None if self._values is None else dict(self._values),
            "model": {"name": type(model).__name__, "parameters": sum(tensor.numel() for tensor in model.parameters())},
            "samples": {"train": len(self._train[1]), "test": 0 if self._test is None else len(self._test[1])},
            "topology": self.topology.to_dict(),
            "strategy": {"name": type(self.strategy).__name__, **asdict(self.strategy)},
            "partition": getattr(self.partition, "__name__", None) or repr(self.partition),
            "loss": getattr(loss, "__name__", type(loss).__name__),
            "rounds": self.total,
            "seed": self.seed,
            "partials": self.partials,
            "policies": [plain_policy(policy) for policy in self.policies],
            "buffers": self.buffers,
            "cohort": self.cohort,
            "alone": self.alone,
            "network": None if self._wires.network is None else self._wires.network.to_dict(),
            "engine": self._engine if isinstance(self._engine, str) else self._engine.name,
        }

    @classmethod
    def from_settings(cls, values: Mapping[str, Any], engine: Any = None) -> Federation:
        """The federation that plain values describe (see `presets.DEFAULTS`), or the `settings` of one made so."""
        from .presets import federation_arguments

        return cls(**federation_arguments(values, engine))

    def __iter__(self) -> Iterator[Any]:
        """Run from the last finished round on."""
        self._must_rest("iterating again")
        records = self._run()
        self._records = weakref.ref(records)
        return records

    def _run(self) -> Iterator[Any]:
        with contextlib.ExitStack() as clean:
            clean.callback(self._ended)
            engine, owned = (simulated(), True) if self._engine == "virtual" else Engine.named(self._engine)
            if owned:
                clean.callback(engine.close)
            session = engine.session(self.kind)
            clean.callback(session.close)
            means = self.partials == "float32"
            plane = Deployment(session, engine.store, self._wires, self._skeleton, self.seed, means)
            deployment = clean.enter_context(plane)
            clean.callback(session.close)  # again, before the leases end: nothing may still look for what they hold
            with self._lock:
                for command in self._early:
                    session.send(command)
                self._session = session
            with contextlib.suppress(Stopped):
                deployment.ship(self._train, self._test, self._parts, self._per_task(engine.workers, deployment.sums))
                version = deployment.put(pack(self._state["model"].values()))
                if self._state["server"]:
                    deployment.server = deployment.put(self._state["server"])
                if self._flows:
                    yield from self._flow(deployment, version)
                    return
                if deployment.kept is not None and self._state.get("kept"):
                    deployment.kept.load(self._state["kept"])
                while self._state["round"] < self.total:
                    fresh, record = yield from Round(deployment, self._state["round"] + 1, version).run()
                    deployment.drop(version)
                    version = fresh
                    kept = engine.store.get(deployment.server) if deployment.server is not None else []
                    own = {} if deployment.kept is None else {"kept": deployment.kept.state()}
                    self._finished(record, engine.store.get(version), kept, own)
                    yield record

    def _flow(self, deployment: Deployment, version: Any) -> Iterator[Any]:
        """Not all wait: the state of what is under way belongs to the state of the federation."""
        if not deployment.simulated and any(isinstance(policy, Deadline) for policy in self.policies):
            # The start of the engine is no device's delay: deadlines count from its first answer.
            deployment.session.submit(nothing)
            while not isinstance(heard := deployment.session.next(), Completion):
                yield Notice(str(heard.get("reason", heard)))
        flow, store = Flow(deployment, self.policies, self.total, version, self._state["round"]), deployment.store
        if self._state.get("flow", {}).get("of") == self._flows_over:
            restore(flow, self._state["flow"])
        for record in flow.run():
            if isinstance(record, RoundFinished):
                kept = store.get(deployment.server) if deployment.server is not None else []
                self._finished(
                    record,
                    store.get(flow.versions.tested.key),
                    kept,
                    {"flow": snapshot(flow) | {"of": self._flows_over}},
                )
            yield record

    def _per_task(self, workers: int, sums: bool) -> int:
        """How many devices share a task; at least four tasks per worker and round, so that none waits long."""
        share, faster = -(-len(self._parts) // (4 * workers)), COHORT_GAIN if self.cohort > 1 else 1
        if sums:
            return max(1, min(int(LONG_TASK_S / self._device_s * faster), share))
        nbytes = sum(tensor.nbytes for tensor in self._state["model"].values())
        return max(1, min(int(TASK_S / self._device_s * faster), TASK_BYTES // nbytes, share))

    def _finished(
        self, record: Any, flats: list[torch.Tensor], server: list[list[torch.Tensor]], more: Mapping[str, Any]
    ) -> None:
        """One new state at once: whoever asks for the state meanwhile gets the one before, or this."""
        Layout(self._skeleton.model).unpack(flats)
        entry = {"round": record.round, "accuracy": record.accuracy, "loss": record.loss}
        history = [*self._state["history"], entry]
        model = _copies(tensors_of(self._skeleton.model))
        self._state = {"round": record.round, "model": model, "history": history, "server": server, **more}

    def _ended(self) -> None:
        with self._lock:
            self._session, self._early, self._records = None, [], None

    def _must_rest(self, before: str) -> None:
        if self._records is not None and self._records() is not None:
            raise RuntimeError(f"this federation is running; stop it before {before}")

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
        """After the last finished round: its number, the model's tensors by name, the history, the server's state."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back, or on, to a `state_dict`; ValueError if it belongs to another model."""
        self._must_rest("loading a state")
        here, there = ({name: (t.shape, t.dtype) for name, t in s["model"].items()} for s in (self._state, state))
        if differ := sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)):
            raise ValueError(f"this state is of another model: they differ in {', '.join(differ[:3])}")
        model = _copies({name: state["model"][name] for name in here})  # in our order
        self._state = {
            "round": int(state["round"]),
            "model": model,
            "history": [dict(entry) for entry in state["history"]],
            "server": [[tensor.clone() for tensor in group] for group in state.get("server", [])],
            **({"flow": state["flow"]} if self._flows and "flow" in state else {}),
            **({"kept": state["kept"]} if self.buffers == "keep" and "kept" in state else {}),
        }

    @property
    def result(self) -> Result:
        """The model after the last finished round, a copy, in evaluation mode."""
        state, model = self._state, copy.deepcopy(self._skeleton.model).eval()
        Layout(model).unpack(pack(state["model"].values()))
        last = state["history"][-1] if state["history"] else {}
        return Result(model, last.get("accuracy"), last.get("loss"), state["round"])

    def personal(self, worker: str) -> nn.Module:
        """The model as a device has it after the last finished round: with what it keeps of its own (`buffers="keep"`)
        in its place; a copy, in evaluation mode. ValueError if there is no such worker.
        """
        if worker not in self.topology.workers:
            raise ValueError(f"there is no worker {worker!r}; the first is {self.topology.workers[0]!r}")
        model, number = self.result.model, self.topology.workers.index(worker)
        kept = self._state.get("kept") or {"devices": []}
        if number in kept["devices"]:
            row, named = kept["devices"].index(number), tensors_of(model)
            fill([named[name] for name in own_names(model)], [rows[row] for rows in kept["rows"]])
        return model

    def bytes_by_edge(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(parent, node) → (down, up): the bytes of models and updates that arrived over each edge of the topology
        since this object was made.
        """
        return self._wires.bytes_by_edge()

    def close(self) -> None:
        """Stop if it runs; leaves nothing on the data plane. Idempotent."""
        records = self._records and self._records()
        if records is not None:
            self.send("stop")
            with contextlib.suppress(ValueError):  # a thread is inside and ends by the stop
                records.close()
                self._ended()


def _copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
