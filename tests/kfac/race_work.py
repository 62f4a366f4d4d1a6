"""Models, data and loops for the tests of races, importable by ranks."""

import os

import torch
from torch import nn

from scilab.kfac import KFAC, Racer, Task
from scilab.kfac.tasks import half_squared_error, right_classes

KFAC_OPTIONS = {"damping": 0.05, "factors_every": 2, "decompose_every": 4, "kl_clip": 0.01}


class Batch(list):
    """A loader of fixed batches."""


def loader(rows=40, size=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=generator, dtype=dtype)
    y = torch.randn(rows, 3, generator=generator, dtype=dtype)
    return Batch(zip(x.split(size), y.split(size), strict=True))


def network(dtype=torch.float32, drop=0.0):
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(drop), nn.Linear(5, 3)).to(dtype)


def regression(dtype=torch.float32, drop=0.0, size=8, train=None):
    train = loader(size=size, dtype=dtype) if train is None else train
    return Task("own", network(dtype, drop), half_squared_error, train, loader(seed=1, dtype=dtype), "gaussian")


def three():
    return [Racer("sgd", 0.05, 0.5, kfac=KFAC_OPTIONS), Racer("sgd", 0.05), Racer("adam", 0.01)]


def by_hand(racer, epochs, drop=0.0):
    """What the race must do: a plain loop; returns the model."""
    model = network(drop=drop)
    if racer.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), racer.lr)
    else:
        optimizer = torch.optim.SGD(model.parameters(), racer.lr, momentum=racer.momentum)
    options = None if racer.kfac is None else {**racer.kfac, "lr": racer.lr, "seed": 0}
    kfac = None if options is None else KFAC(model, likelihood="gaussian", **options)
    for _ in range(epochs):
        for x, y in loader():
            model.zero_grad()
            if kfac is not None:
                kfac.first_example = 0
            half_squared_error(model(x), y).backward()
            if kfac is not None:
                kfac.step()
            optimizer.step()
    return model


class Breaks(nn.Linear):
    """Raises in its fifth training pass, on rank 1 alone."""

    passes = 0

    def forward(self, x):
        self.passes += self.training
        if self.passes > 5 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            raise MemoryError("no room on this rank")
        return super().forward(x)


def pids(folder):
    """A loader that leaves its rank's pid in a folder."""

    class Leaves(Batch):
        def __iter__(self):
            open(os.path.join(folder, str(os.getpid())), "w").close()
            return super().__iter__()

    return Leaves(loader())


def classes(size=32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 6, generator=generator)
    y = (x[:, :3].sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    return Task("signs", model, nn.CrossEntropyLoss(), (x, y), (x, y), hits=right_classes, batch_size=size)
