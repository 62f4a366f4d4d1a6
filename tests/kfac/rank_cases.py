"""One training run that a single process and any world of ranks must walk alike; plain functions for `Worlds.run`."""

import contextlib
import copy
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
    """What varies. `shares` are the examples of each rank; a step's batch is their sum, in the order of ranks.

    A run may take a checkpoint before step `keep_at` and go on, or begin at step `begin` from such a `state`.
    """

    model: type = Images
    shares: tuple = (3, 3, 3, 3)
    options: dict = field(default_factory=dict)
    micro: int = 1
    ddp: bool = False
    steps: int = 5
    begin: int = 0
    state: dict | None = None
    keep_at: int | None = None
    data: int = 0


def train(case, group=None):
    """Walk `case` on this rank of `group` (or alone): V of each step, a checkpoint, and K-FAC's books."""
    rank, ranks = (dist.get_rank(group), dist.get_world_size(group)) if dist.is_initialized() else (0, 1)
    whole = sum(case.shares)
    shares = case.shares if ranks > 1 else (whole,)
    first = sum(shares[:rank])
    torch.manual_seed(0)
    bare = case.model().double()
    model = bare
    if case.ddp and ranks > 1:
        model = DistributedDataParallel(bare, find_unused_parameters=True, gradient_as_bucket_view=True)
    times = ranks if model is not bare else 1  # DDP averages
    options = {**INTERVALS, **case.options, "group": group}
    if options.get("fisher") == "empirical":
        options["loss_scale"] = lambda: times / whole
    optimizer = torch.optim.SGD(bare.parameters(), 0.1, momentum=0.9)
    kfac = KFAC(model, **case.model.likelihood, **options)
    if case.state:
        state = copy.deepcopy(case.state)  # it lies in memory that all ranks share
        bare.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        kfac.load_state_dict(state["kfac"])
    held_at_first, directions, books, state = kfac.held(), [], [], None
    for step in range(case.begin, case.steps):
        if step == case.keep_at:
            state = {"model": bare.state_dict(), "optimizer": optimizer.state_dict(), "kfac": kfac.state_dict()}
            state = copy.deepcopy(state)
        x, y = case.model.batch(whole, torch.Generator().manual_seed(100 * case.data + step))
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
            flat = nn.utils.parameters_to_vector(parameter.grad for parameter in bare.parameters())
            dist.all_reduce(flat, group=group)
            nn.utils.vector_to_parameters(flat, [parameter.grad for parameter in bare.parameters()])
        before = kfac.traffic(), kfac.calls
        kfac.step()
        books.append((since(before[0], kfac.traffic()), {k: n - before[1].get(k, 0) for k, n in kfac.calls.items()}))
        directions.append({n: p.grad.clone() for n, p in bare.named_parameters() if p.grad is not None})
        here = slice(first, first + shares[rank])

        def loss(here=here, x=x, y=y):
            with torch.no_grad():
                return case.model.loss(bare(x[here]), y[here]) * (ranks / whole)  # their mean over ranks is the loss

        before = loss()
        optimizer.step()
        kfac.adapt(before, loss)
    answer = {
        "directions": directions, "state": state, "held": kfac.curvature.held(), "held_at_first": held_at_first,
        "predicted": kfac.predicted, "books": books, "placement": kfac.placement, "damping": kfac.value("damping"),
    }  # fmt: skip
    kfac.close()
    return answer


def since(before, now):
    """{purpose: {layer: bytes}} by way, of what came in between."""
    found = {}
    for way, purposes in now.items():
        found[way] = {}
        for purpose, layers in purposes.items():
            old = before[way].get(purpose, {})
            new = {name: number - old.get(name, 0) for name, number in layers.items()}
            found[way][purpose] = {name: number for name, number in new.items() if number}
    return found


def in_two_groups(cases):
    """World 4: ranks 0 and 1 walk the first case, ranks 2 and 3 the second, at the same time."""
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    mine = dist.get_rank() // 2
    return train(cases[mine], groups[mine])


def measured_placement():
    """Where rank 0's clock put the layers, as each rank sees it; twice, as K-FAC may be made anew."""
    found = []
    for _ in range(2):
        with KFAC(Images(), **Images.likelihood, gradient_worker_fraction=0.5, costs="measured") as kfac:
            found.append(dict(kfac.placement.owners))
    return found


def train_all(cases):
    """Several cases in one world."""
    return [train(case) for case in cases]
