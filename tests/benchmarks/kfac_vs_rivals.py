"""What K-FAC costs beyond SGD, beside kfac-pytorch: ResNet-8 on CIFAR-shaped data, one thread, one run.

    python tests/benchmarks/kfac_vs_rivals.py --kfac-pytorch PATH

PATH is where gpauloski/kfac-pytorch, which is on no package index, was put from its repository with pip's --no-deps and
--target (KFAC_PYTORCH in the environment does, too). Without it the rival is in this file: patches by `unfold`,
`einsum` for both factors, `eigh`.

All train the same network on the same random data, by turns, step by step, so that a load that comes and goes meets
all. CPU time of a step is taken by kind: plain (precondition alone), factor (averages of A and G refreshed too),
inverse (decomposed too); ratios are medians of each step's time over that of SGD's step beside it. "10/100" is the mean
over a period of 100 steps with factors every 10, decompositions every 100, put together from them. A second part starts
4 gloo ranks and reads off what they hold and how often they call. The last line is JSON.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.functional import cross_entropy, unfold

from scilab.kfac import KFAC
from scilab.models import cifar_resnet

LR, DAMPING, CLIP, DECAY = 0.1, 0.003, 0.001, 0.95
FACTORS_EVERY, DECOMPOSE_EVERY = 2, 8  # of the measured steps


def ours(model, fisher):
    """Ours, as a function to call between backward and the optimizer's step, and bytes held."""
    options = {"fisher": "empirical", "reduction": "mean"} if fisher == "empirical" else {}
    kfac = KFAC(
        model, likelihood="categorical", damping=DAMPING, factors_every=FACTORS_EVERY, decompose_every=DECOMPOSE_EVERY,
        decay=DECAY, kl_clip=CLIP, lr=LR, **options,
    )  # fmt: skip
    return kfac.step, lambda: sum(kfac.held().values())


def kfac_pytorch(model):
    """gpauloski/kfac-pytorch at the same intervals, with its "eigen" method."""
    warnings.filterwarnings("ignore", message=".*(Apex|backward hook is).*")
    rival = importlib.import_module("kfac.preconditioner").KFACPreconditioner(
        model, factor_update_steps=FACTORS_EVERY, inv_update_steps=DECOMPOSE_EVERY, damping=DAMPING, factor_decay=DECAY,
        kl_clip=CLIP, lr=LR, compute_method="eigen",
    )  # fmt: skip
    return rival.step, lambda: int(rival.memory_usage()["total"])


class Unfold:
    """The plain way: patches by `unfold`, `einsum` for A and G of the empirical Fisher, full matrices, `eigh`."""

    def __init__(self, model):
        self.steps, self.state, self.new = 0, {}, {}
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(self._forward)

    def _forward(self, module, inputs, output):
        if self.steps % FACTORS_EVERY:
            return
        x = inputs[0].detach()
        if isinstance(module, nn.Conv2d):
            x = unfold(x, module.kernel_size, module.dilation, module.padding, module.stride).mT.flatten(0, 1)
        if module.bias is not None:
            x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        left = torch.einsum("na,nb->ab", x, x) / len(inputs[0])
        output.register_hook(lambda g: self._backward(module, left, g))

    def _backward(self, module, left, g):
        count = len(g)
        g = g.movedim(1, -1).flatten(0, -2) * count
        self.new[module] = left, torch.einsum("na,nb->ab", g, g) / len(g)

    @torch.no_grad()
    def step(self):
        for module, pair in self.new.items():
            old = self.state.setdefault(module, {}).get("factors")
            mixed = pair if old is None else [DECAY * o + (1 - DECAY) * n for o, n in zip(old, pair, strict=True)]
            self.state[module]["factors"] = mixed
        self.new = {}
        if self.steps % DECOMPOSE_EVERY == 0:
            for each in self.state.values():
                (da, qa), (dg, qg) = (torch.linalg.eigh(factor) for factor in each["factors"])
                each["basis"] = qa, qg, 1 / (dg.clamp(min=0)[:, None] * da.clamp(min=0) + DAMPING)
        product, solved = 0.0, {}
        for module, each in self.state.items():
            grad = module.weight.grad.flatten(1)
            if module.bias is not None:
                grad = torch.cat([grad, module.bias.grad[:, None]], 1)
            qa, qg, scale = each["basis"]
            solved[module] = qg @ ((qg.T @ grad @ qa) * scale) @ qa.T
            product += float((solved[module] * grad).sum())
        clip = min(1.0, (CLIP / (LR**2 * abs(product))) ** 0.5)
        for module, v in solved.items():
            v = v * clip
            if module.bias is not None:
                module.bias.grad.copy_(v[:, -1])
                v = v[:, :-1]
            module.weight.grad.copy_(v.view_as(module.weight))
        self.steps += 1

    def held(self):
        return sum(t.nbytes for each in self.state.values() for pair in each.values() for t in pair)


def unfold_rival(model):
    """The same for `Unfold`."""
    rival = Unfold(model)
    return rival.step, rival.held


class Racer:
    """A model, its optimizer, and what comes between."""

    def __init__(self, make, batch):
        torch.manual_seed(0)
        self.model = cifar_resnet(8, (3, 32, 32), 10, "B")
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR, momentum=0.9, weight_decay=5e-4)
        self.between, self.held = make(self.model) if make else (lambda: None, lambda: 0)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(batch, 3, 32, 32, generator=generator)
        self.y = torch.randint(10, (batch,), generator=generator)
        self.ms, self.order = {"plain": [], "factor": [], "inverse": []}, []

    def step(self, kind):
        """One training step, its CPU milliseconds noted under `kind`."""
        began = time.process_time()
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.x), self.y).backward()
        self.between()
        self.optimizer.step()
        self.ms[kind].append(1e3 * (time.process_time() - began))
        self.order.append(kind)

    def median(self, kind):
        """Without the first of its kind, which pays for lazy allocations."""
        return statistics.median(self.ms[kind][1:])

    def amortised(self, sgd, factors_every, decompose_every):
        """Time a step, over that of `sgd`, at other intervals than the measured ones."""
        beside = iter(sgd.ms["plain"])
        ratios = {kind: [] for kind in self.ms}
        for kind in self.order:
            ratios[kind].append(self.ms[kind][len(ratios[kind])] / next(beside))
        plain, factor, inverse = (statistics.median(ratios[kind][1:]) for kind in ("plain", "factor", "inverse"))
        factors = decompose_every // factors_every - 1
        return (inverse + factors * factor + (decompose_every - 1 - factors) * plain) / decompose_every


def _rank(rank, ranks, fraction, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(cifar_resnet(8, (3, 32, 32), 10, "B"))
    kfac = KFAC(model, likelihood="categorical", factors_every=1, decompose_every=1, gradient_worker_fraction=fraction)
    x, y = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    cross_entropy(model(x), y).backward()
    kfac.step()
    predicted = kfac.predicted
    exact = kfac.held() == {"factors": predicted.factors[rank], "decompositions": predicted.decompositions[rank]}
    found = {"held": sum(kfac.held().values()), "calls": sum(kfac.calls.values()), "received": kfac.received}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump({**found, "as_predicted": exact}, file)
    dist.barrier()
    dist.destroy_process_group()


def over_ranks(ranks, fraction):
    """What each rank reports after a step on which everything is due."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (ranks, fraction, folder), nprocs=ranks)
        found = []
        for rank in range(ranks):
            with open(f"{folder}/{rank}.json") as file:
                found.append(json.load(file))
        return found


def main() -> None:
    """Measure, print, end with a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kfac-pytorch", default=os.environ.get("KFAC_PYTORCH"), help="a folder to import it from")
    parser.add_argument("--rounds", type=int, default=8, help="of 8 steps each")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--no-ranks", action="store_true", help="leave the 4 gloo ranks out")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    if chosen.kfac_pytorch:
        sys.path.insert(0, chosen.kfac_pytorch)
    rival_name = "kfac-pytorch" if chosen.kfac_pytorch else "unfold + einsum"
    racers = {
        "SGD": Racer(None, chosen.batch),
        "ours, empirical": Racer(lambda model: ours(model, "empirical"), chosen.batch),
        "ours, sampled": Racer(lambda model: ours(model, "sampled"), chosen.batch),
        rival_name: Racer(kfac_pytorch if chosen.kfac_pytorch else unfold_rival, chosen.batch),
    }
    for number in range(DECOMPOSE_EVERY * (chosen.rounds + 1)):
        kind = "inverse" if number % DECOMPOSE_EVERY == 0 else "plain" if number % FACTORS_EVERY else "factor"
        for name, racer in racers.items():
            racer.step("plain" if name == "SGD" else kind)
    sgd = racers["SGD"].median("plain")
    figures = {"sgd_ms": sgd, "rival": rival_name}
    print(f"SGD {sgd:.1f} ms CPU a step of batch {chosen.batch}, one thread")
    for name, racer in racers.items():
        if name == "SGD":
            continue
        key = name.replace("ours, ", "").replace(rival_name, "rival")
        plain, factor, inverse = (racer.median(kind) for kind in ("plain", "factor", "inverse"))
        ratios = [racer.amortised(racers["SGD"], *intervals) for intervals in ((10, 100), (1, 10))]
        print(
            f"{name:16} plain {plain:6.1f}  factors +{factor - plain:5.1f}  decomposition +{inverse - factor:5.1f} ms; "
            f"against SGD {ratios[0]:.3f} at 10/100, {ratios[1]:.2f} at 1/10; holds {racer.held() / 1e6:.3f} MB"
        )
        figures |= {
            f"{key}_ratio_10_100": ratios[0], f"{key}_ratio_1_10": ratios[1], f"{key}_plain_ms": plain,
            f"{key}_factor_ms": factor - plain, f"{key}_decomposition_ms": inverse - factor,
            f"{key}_state_bytes": racer.held(),
        }  # fmt: skip
    figures["factor_update_of_rivals"] = figures["empirical_factor_ms"] / figures["rival_factor_ms"]
    print(f"factor update, empirical: {100 * figures['factor_update_of_rivals']:.0f} % of {rival_name}'s")
    for fraction in () if chosen.no_ranks else (1.0, 0.5, 0.25):
        by_rank = over_ranks(4, fraction)
        figures[f"ranks4_fraction_{fraction}"] = {
            "held_bytes": [each["held"] for each in by_rank], "held_bytes_sum": sum(each["held"] for each in by_rank),
            "collective_calls": max(each["calls"] for each in by_rank),
            "as_predicted": all(each["as_predicted"] for each in by_rank),
        }  # fmt: skip
        print(f"4 ranks, fraction {fraction}: {figures[f'ranks4_fraction_{fraction}']}")
    figures |= {
        "rounds": chosen.rounds, "batch": chosen.batch, "load_before": load_before, "load_after": os.getloadavg()[0],
        "machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(),
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
