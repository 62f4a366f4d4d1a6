"""Models, data and a plain-loop FedAvg that the tests of federated/ share; importable in worker processes too."""

import copy
import os
import signal
import threading

import numpy as np
import torch
from torch import nn

from scilab.federated import RoundFinished, Topology
from scilab.federated.streams import stream

POISON, DEADLY, DIVERGING = -777.0, -888.0, -999.0
gate = threading.Event()


class Net(nn.Module):
    """A small network with a buffer of every sort, a tied weight and, if asked for, dropout."""

    def __init__(self, dropout=0.0, width=8):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first = nn.Linear(6, width)
            self.norm = nn.BatchNorm1d(width)
            self.second = nn.Linear(width, width, bias=False)
            self.third = nn.Linear(width, width, bias=False)
            self.last = nn.Linear(width, 3)
        self.third.weight = self.second.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x):
        if (x == POISON).any():
            self.seen = torch.ones(3)  # of another shape: nothing of this may reach the next device
            raise RuntimeError("poisoned row")
        if (x == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (x == DIVERGING).any():
            x = x * float("inf")
        if self.training:
            self.seen += len(x)
        x = self.drop(torch.relu(self.norm(self.first(x))))
        return self.last(torch.tanh(self.third(torch.tanh(self.second(x)))))


class Gated(nn.Module):
    """Trains only while `gate` is open, once it has been told to mind it."""

    minding = False

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x):
        if Gated.minding:
            gate.wait(60)
        return self.layer(x)


def data(rows=96, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    y = np.argmax(x[:, :3] + 0.3 * rng.normal(size=(rows, 3)), axis=1)
    return torch.from_numpy(x), torch.from_numpy(y)


def uneven(labels, devices, seed):
    """Shares of 2, 4, 6, … rows by turns, the rest to the last device: sizes that differ."""
    cuts = np.cumsum([2 + 2 * (device % 4) for device in range(devices - 1)])
    return np.split(np.arange(len(labels)), cuts)


def given(*parts):
    """A partition of exactly these rows."""
    return lambda labels, devices, seed: [np.array(part) for part in parts]


def ragged(workers, seed):
    """A random tree over workers w0, w1, …: any depth, aggregators of one child among them."""
    rng = np.random.default_rng(seed)
    nodes, open_nodes = [("root", None, "coordinator")], [f"w{i}" for i in range(workers)]
    order = list(rng.permutation(open_nodes))
    parents, count = {}, 0
    while len(order) > 1 or count < 4:
        take = int(rng.integers(1, min(4, len(order)) + 1))
        name = f"a{count}"
        for child in order[:take]:
            parents[child] = name
        order, count = [*order[take:], name], count + 1
    parents.update(dict.fromkeys(order, "root"))
    nodes += [(f"a{i}", parents[f"a{i}"], "aggregator") for i in range(count)]
    nodes += [(worker, parents[worker], "worker") for worker in open_nodes]
    return Topology(tuple(nodes))


def run(federation):
    """All records, by a plain loop."""
    return list(federation)


def finished(records):
    return [record for record in records if isinstance(record, RoundFinished)]


def weights(federation):
    return federation.state_dict()["model"]


def same(one, two):
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert different == []


def close(one, two):
    """Equal up to one unit of float32: the reference rounds sums in float64, we round exact ones."""
    assert one.keys() <= two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        assert torch.allclose(one[name], two[name], rtol=2**-23, atol=1e-9), name


def reference(model, train, parts, strategy, rounds, seed, kept=None):
    """FedAvg (of the `kept` devices) as a loop over torch.optim.SGD; integer buffers by their maximum."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(1, rounds + 1):
        kept = range(len(parts)) if kept is None else kept
        states, counts = [], [len(parts[device]) for device in kept]
        for device in kept:
            rows = list(parts[device])
            local = copy.deepcopy(model)
            local.load_state_dict(state)
            local.train()
            optimiser = torch.optim.SGD(local.parameters(), lr=strategy.lr, momentum=strategy.momentum)
            order = torch.Generator().manual_seed(stream(seed, "shuffle", number, device))
            x, y = train[0][rows], train[1][rows]
            with torch.random.fork_rng():
                torch.manual_seed(stream(seed, "draws", number, device))
                for _ in range(strategy.local_epochs):
                    for batch in torch.randperm(len(rows), generator=order).split(strategy.batch_size or len(rows)):
                        optimiser.zero_grad()
                        nn.functional.cross_entropy(local(x[batch]), y[batch]).backward()
                        optimiser.step()
            states.append(local.state_dict())
        for name, tensor in state.items():
            every = [entry[name] for entry in states]
            if tensor.is_floating_point():
                mean = sum(n * value.double() for n, value in zip(counts, every, strict=True)) / sum(counts)
                state[name] = mean.to(tensor.dtype)
            else:
                state[name] = torch.stack(every).amax(0)
    return state
