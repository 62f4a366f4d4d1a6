"""One training run that a single process and any world of ranks must walk alike; plain functions for `Worlds.run`."""

import contextlib
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from scilab.kfac import KFAC

INTERVALS = {"factors_every": 2, "decompose_every": 4, "kl_clip": 0.01, "lr": 0.1, "damping": 0.1}
EMPIRICAL = {"fisher": "empirical", "reduction": "sum"}


class Images(nn.Module):
    """A convolution, a grouped and strided one, a layer that takes no part, two dense layers, no normalisation."""

    likelihood = MappingProxyType({"likelihood": "categorical"})

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False)
        self.idle, self.third, self.head = nn.Linear(3, 3), nn.Linear(24, 7), nn.Linear(7, 5)

    def forward(self, x):
        hidden = self.second(self.first(x).tanh()).tanh()
        return self.head(self.third(hidden.flatten(1)).tanh())

    @staticmethod
    def batch(count, generator):
        x = torch.randn(count, 2, 6, 6, generator=generator, dtype=torch.float64)
        return x, torch.randint(5, (count,), generator=generator)

    @staticmethod
    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="sum")


class Tokens(nn.Module):
    """An embedding, a layer used twice, and an expert that only examples beginning with a low token meet."""

    likelihood = MappingProxyType({"likelihood": "categorical", "class_dim": -1})

    def __init__(self):
        super().__init__()
        self.words, self.twice = nn.Embedding(11, 6, padding_idx=0), nn.Linear(6, 6)
        self.expert, self.head = nn.Linear(6, 6), nn.Linear(6, 11)

    def forward(self, tokens):
        hidden = self.twice(self.twice(self.words(tokens)).tanh()).tanh()
        chosen = tokens[:, 0] < 3
        if chosen.any():
            hidden = hidden.index_add(0, chosen.nonzero()[:, 0], self.expert(hidden[chosen]))
        return self.head(hidden)

    @staticmethod
    def batch(count, generator):
        tokens = torch.randint(11, (count, 4), generator=generator)
        return tokens, tokens.roll(1, 1)

    @staticmethod
    def loss(outputs, targets):
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum") / 4


@dataclass
class Case:
    """What varies. `shares` are the examples of each rank; a step's batch is their sum, in the order of ranks."""

    model: type = Images
    shares: tuple = (3, 3, 3, 3)
    options: dict = field(default_factory=dict)
    micro: int = 1
    ddp: bool = False
    steps: int = 7
    begin: int = 0
    state: dict | None = None
    keep: bool = False


def train(case):
    """Walk `case` on this rank (or alone): V of each step, parameters, a checkpoint if `keep`, and K-FAC's books."""
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    whole = sum(case.shares)
    shares = case.shares if ranks > 1 else (whole,)
    first = sum(shares[:rank])
    torch.manual_seed(0)
    bare = case.model().double()
    model = DistributedDataParallel(bare, find_unused_parameters=True) if case.ddp and ranks > 1 else bare
    times = ranks if model is not bare else 1  # DDP averages
    options = {**INTERVALS, **case.options}
    if options.get("fisher") == "empirical":
        options["loss_scale"] = lambda: times / whole
    optimizer = torch.optim.SGD(bare.parameters(), 0.1, momentum=0.9)
    kfac = KFAC(model, **case.model.likelihood, **options)
    if case.state:
        bare.load_state_dict(case.state["model"])
        optimizer.load_state_dict(case.state["optimizer"])
        kfac.load_state_dict(case.state["kfac"])
    held_at_first = kfac.held()
    directions, books = [], []
    for step in range(case.begin, case.steps):
        x, y = case.model.batch(whole, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        kfac.first_example = first
        pieces = torch.arange(first, first + shares[rank]).tensor_split(case.micro)
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            with contextlib.nullcontext() if last or model is bare else model.no_sync():
                (case.model.loss(model(x[piece]), y[piece]) * (times / whole)).backward()
        for parameter in bare.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if model is bare and ranks > 1:
                dist.all_reduce(parameter.grad)
        before = (dict(kfac.received), dict(kfac.calls))
        kfac.step()
        books.append([{k: v - old.get(k, 0) for k, v in now.items()} for now, old in zip(
            (kfac.received, kfac.calls), before, strict=True)])  # fmt: skip
        directions.append({n: p.grad.clone() for n, p in bare.named_parameters() if p.grad is not None})
        optimizer.step()
    state = None
    if case.keep:
        state = {"model": bare.state_dict(), "optimizer": optimizer.state_dict(), "kfac": kfac.state_dict()}
    answer = {
        "directions": directions, "parameters": {n: p.detach() for n, p in bare.named_parameters()}, "state": state,
        "held": kfac.held(), "held_at_first": held_at_first, "predicted": kfac.predicted, "books": books,
        "notices": kfac.notices, "report": kfac.report,
    }  # fmt: skip
    kfac.close()
    return answer


def train_all(cases):
    """Several cases in one world."""
    return [train(case) for case in cases]
