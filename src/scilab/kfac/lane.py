"""One racer on one rank: its copy of the model, its optimizer and K-FAC, its clock."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from .data import Batch
from .likelihood import stream
from .racers import LIVE, Racer
from .ranks import World
from .records import RacerEpoch, RankUse, StepFinished
from .tasks import Task

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Which eigenvalues of a factor are told: from the smallest to the largest."""


STAGES = ("capture", "factors", "decompose", "precondition")
"""Of K-FAC; the first within the forward and backward pass."""


class Lane:
    """Trains one racer. All lanes of a race begin with `task.model`'s weights and are given the same batches."""

    def __init__(self, racer: Racer, task: Task, world: World, seed: int, draws: bool) -> None:
        self.racer, self.task, self.world, self.seed, self.draws = racer, task, world, seed, draws
        self.name, self.lr = racer.name, racer.lr
        self.model = copy.deepcopy(task.model).to(world.device).train()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = racer.make_optimizer(self.model)
        self.kfac = racer.make_kfac(self.model, task.fisher, self.optimizer, seed)
        self.failed: str | None = None
        self.seconds, self.told = 0.0, 0  # told: how many of K-FAC's notices
        self._loss: torch.Tensor | None = None
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._total, self._steps, self._stages = torch.zeros((), device=self.world.device), 0, Counter()
        self._before = self._so_far()
        self._marks: list[tuple] = []
        if self.world.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def _so_far(self) -> dict[str, Counter]:
        if self.kfac is None:
            return {"seconds": Counter(), "received": Counter()}
        return {"seconds": Counter(self.kfac.seconds), "received": Counter(self.kfac.received)}

    def step(self, batch: Batch, first: int, total: int, number: int, factor: float) -> None:
        """One step on this rank's rows of a batch of `total`, which begin at row `first`; `factor` scales the rate.

        `number` counts the steps of the race: draws of the model, such as dropout's, follow from it.
        """
        began = time.perf_counter()
        start = self._mark()
        inputs, targets = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        if self.kfac is not None:
            self.kfac.first_example = first
        self.model.train()
        for parameter in self.parameters:
            parameter.grad = None
        loss = self._loss_of(inputs, targets, number)
        loss.backward()
        passed = time.perf_counter()
        self._loss = self._average(loss.detach(), len(inputs) / total)
        averaged = time.perf_counter()
        if self.kfac is not None:
            self.kfac.step()
        solved = time.perf_counter()
        if self.racer.weight_decay:
            with torch.no_grad():
                torch._foreach_mul_(self.parameters, 1 - self.lr * factor * self.racer.weight_decay)
        self.optimizer.step()
        if self.kfac is not None:
            self.kfac.adapt(loss.detach(), lambda: self._loss_of(inputs, targets, number))
        self._total += self._loss
        self._steps += 1
        ended = time.perf_counter()
        self._stages.update({"forward, backward": passed - began, "gradients averaged": averaged - passed,
                             "K-FAC": solved - averaged, "optimizer": ended - solved})  # fmt: skip
        if start is None:
            self.seconds += ended - began
        else:
            self._marks.append((start, self._mark()))

    def _loss_of(self, inputs: torch.Tensor, targets: torch.Tensor, number: int) -> torch.Tensor:
        with torch.random.fork_rng(enabled=self.draws):
            if self.draws:
                torch.manual_seed(stream(self.seed, "draws", number, self.world.rank))
            return self.task.loss(self.model(inputs), targets)

    def _mark(self) -> Any:
        """A GPU works on after its steps were asked for, so it keeps time itself."""
        if self.world.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _average(self, loss: torch.Tensor, share: float) -> torch.Tensor:
        """Make gradients, and the loss, those of the whole batch: one sum, each rank by its share of the rows."""
        if self.world.ranks == 1:
            return loss
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([*(parameter.grad.reshape(-1) for parameter in self.parameters), loss.reshape(1)])
        flat = self.world.sum(flat.mul_(share))
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, part in zip(self.parameters, flat[:-1].split(sizes), strict=True):
            parameter.grad.copy_(part.view_as(parameter))
        return flat[-1]

    def check(self) -> str | None:
        """Why this racer is out, if its newest loss is no number: the same on all ranks."""
        if self._loss is None or bool(torch.isfinite(self._loss)):
            return None
        self.failed = f"its loss became {float(self._loss)}: try a smaller learning rate"
        if self.kfac is not None:
            self.failed += ", or a larger damping"
        return self.failed

    def set(self, what: Mapping[str, float]) -> None:
        """Change its rate, and what of it K-FAC has; ValueError says what is allowed."""
        if "lr" in what:
            if not (isinstance(what["lr"], int | float) and 0 < what["lr"] < math.inf):
                raise ValueError(f"lr must be above 0, got {what['lr']!r}")
            self.lr = what["lr"]
        if self.kfac is not None and (rest := {key: what[key] for key in LIVE[1:] if key in what}):
            self.kfac.set(**rest)

    def _figures(self) -> dict[str, Any]:
        report = None if self.kfac is None else self.kfac.report
        if report is None:
            return {}
        return {"damping": report.damping, "scale": report.scale, "product": report.product,
                "cosines": report.cosines}  # fmt: skip

    def told_step(self, epoch: int, step: int) -> StepFinished:
        """The newest step as a record; waits for the device."""
        self._settle()
        rate = self.optimizer.param_groups[0]["lr"]
        return StepFinished(self.name, epoch, step, self.seconds, float(self._loss), rate, **self._figures())

    def _settle(self) -> None:
        if self._marks:
            torch.cuda.synchronize()
            self.seconds += sum(start.elapsed_time(end) for start, end in self._marks) / 1e3
            self._marks = []

    def end_epoch(self, test: Any) -> RacerEpoch:
        """Evaluate, and tell of the epoch; called on all ranks."""
        self._settle()
        self.world.same_buffers(self.model)
        loss, accuracy = self._evaluate(test)
        steps = max(1, self._steps)
        ms = {stage: 1e3 * seconds / steps for stage, seconds in self._stages.items()}
        spectra, uses, solving = None, (), ms.pop("K-FAC", 0.0)
        if self.kfac is not None and solving:
            now = self._so_far()
            gone = {key: 1e3 * (now["seconds"][key] - self._before["seconds"][key]) / steps for key in STAGES}
            ms = {"forward, backward": ms["forward, backward"] - gone["capture"], **gone, **ms}
            spectra = {name: tuple(_quantiles(part) for part in pair) for name, pair in self.kfac.spectra().items()}
            received = {key: (now["received"][key] - self._before["received"][key]) / steps for key in now["received"]}
            held = self.kfac.held()
            uses = tuple(self.world.gather(RankUse(
                self.world.rank, str(self.world.device), held["factors"], held["decompositions"], received,
                *_gpu(self.world.device),
            )))  # fmt: skip
        if self.world.ranks == 1:
            ms.pop("gradients averaged")
        told = RacerEpoch(self.name, float(self._total) / steps, loss, accuracy, self.seconds, ms, **self._figures(),
                          spectra=spectra, ranks=uses)  # fmt: skip
        self._begin_epoch()
        return told

    @torch.no_grad()
    def _evaluate(self, test: Any) -> tuple[float, float | None]:
        self.model.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.world.device)
        for number, (inputs, targets) in enumerate(test):
            if number % self.world.ranks != self.world.rank:
                continue
            outputs = self.model(inputs)
            rows = torch.tensor(float(len(inputs)), dtype=torch.float64, device=sums.device)
            hits = rows if self.task.hits is None else self.task.hits(outputs, targets).double()
            sums += torch.stack([self.task.loss(outputs, targets).double() * rows, hits, rows])
        self.model.train()
        total, hits, count = self.world.sum(sums).tolist()
        return total / count, None if self.task.hits is None else hits / (count * self.task.marks)

    def notices(self) -> list[str]:
        """What K-FAC has said since the last time."""
        new = [] if self.kfac is None else self.kfac.notices[self.told :]
        self.told += len(new)
        return [f"{self.name}, {text}" for text in new]

    def state_dict(self) -> dict[str, Any]:
        """All it needs to go on, on the CPU; called on all ranks."""
        self.world.same_buffers(self.model)
        self._settle()
        return {
            "model": {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.model.state_dict().items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "kfac": None if self.kfac is None else self.kfac.state_dict(),
            "lr": self.lr,
            "seconds": self.seconds,
            "failed": self.failed,
            "epoch": {"total": self._total.to("cpu", copy=True), "steps": self._steps, "stages": dict(self._stages)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`, whatever the number of ranks was."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.kfac is not None:
            self.kfac.load_state_dict(state["kfac"])
        self.lr, self.seconds, self.failed = state["lr"], state["seconds"], state["failed"]
        self._total, self._steps = state["epoch"]["total"].to(self.world.device, copy=True), state["epoch"]["steps"]
        self._stages = Counter(state["epoch"]["stages"])

    def close(self) -> None:
        """Let go of the hooks."""
        if self.kfac is not None:
            self.kfac.close()


def _quantiles(values: torch.Tensor) -> tuple[float, ...]:
    points = torch.tensor(QUANTILES, dtype=torch.float64)
    return tuple(torch.quantile(values.flatten().double(), points).tolist())


def _gpu(device: torch.device) -> tuple[int | None, float | None]:
    if device.type != "cuda":
        return None, None
    try:
        busy = torch.cuda.utilization(device) / 100
    except Exception:  # the driver's library is a package of its own, and may be missing or forbidden
        busy = None
    return torch.cuda.max_memory_allocated(device), busy
