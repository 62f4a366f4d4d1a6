"""A race of optimizers as an iterator of records."""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .data import Batches
from .footprint import Storage, predict, shapes_of
from .launch import Ranks
from .racers import Racer
from .ranks import World, join
from .tasks import TASKS, Task
from .tradeoff import tradeoffs
from .training import SCHEDULES, Plan, Training, check_command

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, eq=False)
class Finish:
    """What a race has made so far: each racer's model, in evaluation mode, and its figures epoch by epoch."""

    models: dict[str, nn.Module]
    epochs: dict[str, list[dict[str, Any]]]


class Race:
    """Optimizers from the same initial weights through the same batches, all at once, step by step.

    task: a `Task`, or the name of one of `TASKS`. racers: `Racer`s, by default K-FAC with SGD against SGD and Adam.
    ranks: processes that share each batch; `devices` is "cpu" (gloo) or "cuda" (NCCL, a GPU each). They are started on
        this machine, or through an `engine` of the control plane: on any machine it reaches, which reach this one by
        `address`. Under torchrun the ranks are torchrun's, and only rank 0 yields records.
    schedule: of the learning rates, "constant" or "cosine" to zero, after `warmup` epochs.

    Iterate to run: yields the records of `records`. `send` takes "pause", "resume", "stop", and while it runs dicts of
    `LIVE` with a racer's name for one alone: {"damping": 0.01}, {"lr": 0.05, "racer": "SGD"}. Resumed from any
    `state_dict`, on any number of ranks, it goes on; on as many ranks as before, on a processor, with the same bits.

    Raises:
        ValueError: parts that do not fit each other: it tries a few rows to see. RankFailed (while it runs): a rank
        ended before its time. RuntimeError (while it runs): no racer is left.
    """

    kind = "kfac"

    def __init__(
        self, task: Task | str = "digits_autoencoder", racers: Sequence[Racer] | None = None, *, epochs: int = 30,
        ranks: int = 1, devices: str = "cpu", schedule: str = "constant", warmup: int = 0, engine: Any = None,
        address: str | None = None, seed: int = 0, values: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if isinstance(task, str):
            if task not in TASKS:
                raise ValueError(f"there is no task {task!r}; there are {', '.join(TASKS)}, or make a Task of your own")
            task = TASKS[task](seed)
        self.racers = tuple(racers or default_racers())
        names = [racer.name for racer in self.racers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two racers are called {twice[0]!r}: give one of them another name")
        for name, value, least in (("epochs", epochs, 1), ("ranks", ranks, 1), ("warmup", warmup, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
        self._torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        self.ranks = int(os.environ["WORLD_SIZE"]) if self._torchrun else ranks
        check_devices(devices, self.ranks, here=engine is None and not self._torchrun)
        if engine is not None and engine.workers < ranks:
            raise ValueError(f"{ranks} ranks need as many workers at once; this engine has {engine.workers}")
        self.task, self.total, self.devices, self.seed = task, epochs, devices, seed
        self._engine, self._address, self._values = engine, address, values
        self.shapes = {} if all(racer.kfac is None for racer in self.racers) else shapes_of(task.model)
        for racer in self.racers:
            self._try(racer)
        draws = try_rows(task)
        self._plan = Plan(task, self.racers, epochs, schedule, warmup, devices, seed, draws)
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._lock, self._records = threading.Lock(), None
        self._state: dict[str, Any] = {"epoch": 0, "step": 0, "lanes": {}, "history": {name: [] for name in names}}
        self._failed: dict[str, str] = {}

    def _try(self, racer: Racer) -> None:
        """Build it once, on a copy: a mistake shows here, not in a rank."""
        model = copy.deepcopy(self.task.model)
        optimizer = racer.make_optimizer(model)
        if racer.kfac is None:
            return
        fraction = racer.kfac.get("gradient_worker_fraction", 1.0)
        predict(self.shapes, ranks=self.ranks, gradient_worker_fraction=fraction)
        alone = {**racer.kfac, "gradient_worker_fraction": 1.0}
        if not (dist.is_available() and dist.is_initialized()):
            made = Racer(racer.optimizer, racer.lr, racer.momentum, 0.0, alone).make_kfac(
                model, self.task.fisher, optimizer, self.seed
            )
            made.close()

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this race is; with "values", all that `from_settings` needs."""
        predicted, offered = self._foreseen()
        return {
            "values": None if self._values is None else dict(self._values),
            "task": {"name": self.task.name, "batch_size": self.task.batch_size, "accuracy": self.task.hits is not None,
                     "parameters": sum(tensor.numel() for tensor in self.task.model.parameters())},
            "racers": [racer.describe() for racer in self.racers],
            "layers": {name: [shape.inputs, shape.outputs] for name, shape in self.shapes.items()},
            "epochs": self.total,
            "ranks": self.ranks,
            "devices": self.devices,
            "schedule": self._plan.schedule,
            "warmup": self._plan.warmup,
            "engine": None if self._engine is None else self._engine.name,
            "seed": self.seed,
            "predicted": predicted,
            "tradeoff": offered,
        }  # fmt: skip

    def _foreseen(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """By racer with K-FAC: bytes of each rank, held and received a step on average; the trade-off of the first."""
        predicted, offered = {}, {}
        for racer in self.racers:
            if racer.kfac is None:
                continue
            given = racer.kfac
            kept = Storage(given.get("factors", "owner"), given.get("method", "eigen"),
                           basis_dtype=given.get("basis_dtype"))  # fmt: skip
            often, seldom = _number(given.get("factors_every", 10)), _number(given.get("decompose_every", 100))
            fraction = given.get("gradient_worker_fraction", 1.0)
            made = predict(self.shapes, ranks=self.ranks, gradient_worker_fraction=fraction, storage=kept)
            reduced = often if kept.factors == "owner" else seldom
            predicted[racer.name] = [{"held": made.held[rank],
                                      "received": made.received_per_step(rank, reduced, seldom)}
                                     for rank in range(self.ranks)]  # fmt: skip
            offered = offered or {"fraction": fraction, "ranks": self.ranks,
                                  "offers": tradeoffs(self.shapes, self.ranks, often, seldom, kept)}  # fmt: skip
        return predicted, offered

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Race:
        """The race that plain values describe (see `presets.DEFAULTS`), or the `settings` of one made so."""
        from .presets import race_arguments

        return cls(**race_arguments(values))

    def __iter__(self) -> Iterator[Any]:
        """Run from the state on; records that are checkpoints leave a new one."""
        self._must_rest("iterating again")
        records = self._run()
        self._records = weakref.ref(records)
        return records

    def _run(self) -> Iterator[Any]:
        alone = self.ranks == 1 and self._engine is None
        source = self._here() if alone or self._torchrun else self._there()
        with contextlib.closing(source):
            for record, state in source:
                if state is not None:
                    self._keep(record, state)
                if record is not None:
                    yield record

    def _here(self) -> Iterator[tuple[Any, Any]]:
        """This process is the rank, or one of torchrun's."""
        if self._torchrun:
            world = join(self.devices, int(os.environ["RANK"]), self.ranks)
        else:
            world = World(torch.device(self.devices))
        before = torch.get_num_threads()
        torch.set_num_threads(self.task.threads or before)
        training = Training(self._plan, world, self._inbox, self._state)
        try:
            for record in training.run():
                yield record, training.saved if getattr(record, "checkpoint", False) else None
            yield None, training.saved
        finally:
            training.close()
            torch.set_num_threads(before)

    def _there(self) -> Iterator[tuple[Any, Any]]:
        ranks = Ranks(self._plan, self.ranks, self._inbox, self._state, self._engine, self._address)
        with contextlib.closing(iter(ranks)) as told:
            yield from told

    def _keep(self, record: Any, state: Mapping[str, Any]) -> None:
        history = {name: list(entries) for name, entries in self._state["history"].items()}
        for told in getattr(record, "racers", ()):
            history[told.racer].append({"epoch": record.epoch, "train_loss": told.train_loss, "loss": told.loss,
                                        "accuracy": told.accuracy, "seconds": told.seconds})  # fmt: skip
        self._state = {**state, "history": history}

    def _must_rest(self, before: str) -> None:
        if self._records is not None and self._records() is not None:
            raise RuntimeError(f"this race is running; stop it before {before}")

    def send(self, command: str | Mapping[str, Any]) -> None:
        """Pause, resume, stop, or change; from any thread. ValueError for what it does not understand."""
        check_command(command, self.racers)
        self._inbox.put(command)

    def state_dict(self) -> dict[str, Any]:
        """At the newest checkpoint, the end of an epoch or where it was stopped: models, optimizers, K-FAC, clocks."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back, or on, to a `state_dict`; ValueError if it is of another race."""
        self._must_rest("loading a state")
        names = [racer.name for racer in self.racers]
        if sorted(state["history"]) != sorted(names):
            raise ValueError(f"this state is of a race of {', '.join(state['history'])}; here race {', '.join(names)}")
        shapes = {name: tensor.shape for name, tensor in self.task.model.state_dict().items()}
        for lane in state["lanes"].values():
            if {name: tensor.shape for name, tensor in lane["model"].items()} != shapes:
                raise ValueError("this state is of another model: build the race with the same one")
        self._state = copy.deepcopy(dict(state))

    @property
    def result(self) -> Finish:
        """At the newest checkpoint."""
        models = {}
        for name, lane in self._state["lanes"].items():
            models[name] = copy.deepcopy(self.task.model).eval()
            models[name].load_state_dict(lane["model"])
        return Finish(models, copy.deepcopy(self._state["history"]))

    def close(self) -> None:
        """Stop if it runs; no process is left. Idempotent."""
        records = self._records and self._records()
        if records is not None:
            self._inbox.put("stop")
            with contextlib.suppress(ValueError):  # a thread is inside and ends by the stop
                records.close()


def default_racers() -> tuple[Racer, ...]:
    """K-FAC with SGD, SGD with momentum and Adam, with rates that suit the digits' autoencoder."""
    kfac = {"damping": 0.03, "factors_every": 1, "decompose_every": 5, "kl_clip": 0.03}
    return Racer("sgd", 0.5, 0.5, kfac=kfac), Racer("sgd", 0.05), Racer("adam", 0.01)


def check_devices(devices: str, ranks: int, here: bool = True) -> None:
    """ValueError where so many ranks cannot have devices of this machine (`here`), or of the named kind."""
    if devices not in DEVICES:
        raise ValueError(f"devices must be one of {', '.join(DEVICES)}, got {devices!r}")
    count = torch.cuda.device_count() if devices == "cuda" else ranks
    if here and ranks > count:
        most = f"at most {count} rank{'s' * (count > 1)}, or " if count else ""
        raise ValueError(f"{ranks} rank{'s' * (ranks > 1)} on CUDA, but torch sees {count or 'no'} CUDA "
                         f"device{'s' * (count != 1)}: take {most}devices='cpu'")  # fmt: skip


def try_rows(task: Task) -> bool:
    """Whether the model draws from torch's stream (dropout); ValueError if model, loss and data do not fit."""
    batches = Batches(task.train, min(task.batch_size, 8), torch.device("cpu"), 0, None)
    model = copy.deepcopy(task.model).train()
    with torch.random.fork_rng(devices=[]):
        inputs, targets = next(batches.epoch(0))
        before = torch.random.get_rng_state()
        try:
            loss = task.loss(model(inputs), targets)
            loss.backward()
        except Exception as error:
            given = f"inputs {tuple(inputs.shape)} {inputs.dtype}, targets {tuple(targets.shape)} {targets.dtype}"
            reason = f"{type(error).__name__}: {error} ({given})"
            raise ValueError(f"the model, the loss and the data do not fit each other: {reason}") from error
        return not torch.equal(before, torch.random.get_rng_state())


def _number(value: Any) -> float:
    return value(0) if callable(value) else value


