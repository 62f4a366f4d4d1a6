"""Epochs and CPU time to a target on the digits: K-FAC against torch's own optimizers, each tuned on the same grid.

    python tests/benchmarks/kfac_convergence.py            # about ten minutes on one core
    python tests/benchmarks/kfac_convergence.py --task cnn --seeds 1 --tune-seeds 1

Two tasks on the 1,797 digits, split anew for every seed (80 % of each class for training):

    autoencoder  64-96-48-24-12-24-48-96-64, tanh, batch 256; half the squared error per image on the *test* images,
                 targets 1.5 and 1.2: the ill-conditioned kind of problem that K-FAC was made for
    cnn          two convolutions, two linear layers, batch 64; test accuracy, target 97 %: an easy problem

Every optimizer is tried with the learning rates of `RATES` on seeds that are not measured (`TUNING`), up to twice the
CPU time of its best. For K-FAC, whose steps have the length that `kl_clip` allows, the rate is 1, the upper end, and
`PRECONDITIONING` and `INTERVALS` are tried, with the `METHOD` of the task.
The setting that reaches the target in the least CPU time there, and that with the fewest epochs, are then measured on
the other seeds, optimizers by turns. CPU time is of the training alone, one thread; --muon adds torch's Muon.
The last line is JSON: medians over seeds, None where a target was not reached in `EPOCHS`.
"""

import argparse
import itertools
import json
import math
import platform
import statistics
import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from scilab.datasets import digits
from scilab.kfac import KFAC

RATES = [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
PRECONDITIONING = {
    "damping": [0.01, 0.03, 0.1],
    "momentum": [0.5, 0.7],
    "kl_clip": [0.003, 0.005, 0.01, 0.03],
    "decay": [0.5, 0.7, 0.95],
}
INTERVALS = {"autoencoder": [(2, 10), (3, 9), (5, 20)], "cnn": [(20, 20), (20, 40)]}
"""Steps between updates of the factors, and of the decompositions."""
METHOD = {"autoencoder": "eigen", "cnn": "inverse"}
"""How K-FAC solves; π-damped inverses take half the products a step, and no eigendecomposition."""
TARGETS = {"autoencoder": [1.5, 1.2], "cnn": [0.97]}
EPOCHS = {"autoencoder": 250, "cnn": 20}
BATCH = {"autoencoder": 256, "cnn": 64}
TUNING = {"autoencoder": 1, "cnn": 5}
"""Seeds to tune on; the cnn's epochs differ much from seed to seed."""
RIVALS = ("sgd", "adam", "kfac")


def autoencoder():
    sizes, layers = (64, 96, 48, 24, 12, 24, 48, 96, 64), []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs)] + [nn.Tanh()] * (outputs not in (12, 64))
    return nn.Sequential(*layers)


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def half_squared_error(outputs, targets):
    return (outputs - targets).square().sum(1).mean() / 2


def split(task, seed):
    """(train inputs, train targets, test inputs, test targets), each class dealt 80 : 20 by `seed`."""
    data = digits()
    images, labels = (torch.cat(parts) for parts in zip(data.train, data.test, strict=True))
    generator = torch.Generator().manual_seed(seed)
    train, test = [], []
    for label in range(10):
        rows = (labels == label).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        test += rows[: len(rows) // 5].tolist()
        train += rows[len(rows) // 5 :].tolist()
    images = images * 2 - 1
    inputs = images.flatten(1) if task == "autoencoder" else images
    targets = inputs if task == "autoencoder" else labels
    return inputs[train], targets[train], inputs[test], targets[test]


def optimizers(rival, model, setting):
    if rival == "sgd":
        return [torch.optim.SGD(model.parameters(), setting["lr"], momentum=0.9)]
    if rival == "adam":
        return [torch.optim.Adam(model.parameters(), setting["lr"])]
    if rival == "muon":  # for matrices only; the rest meets Adam with the same rate
        matrices = [p for p in model.parameters() if p.dim() == 2]
        rest = [p for p in model.parameters() if p.dim() != 2]
        return [torch.optim.Muon(matrices, setting["lr"], weight_decay=0.0), torch.optim.Adam(rest, setting["lr"])]
    return [torch.optim.SGD(model.parameters(), setting["lr"], momentum=setting["momentum"])]


def train(task, rival, setting, seed, epochs, last, limit_s=math.inf):
    """{target: (epoch, CPU seconds)} of the targets reached, until the `last` is, or `limit_s` are over."""
    x, y, x_test, y_test = split(task, seed)
    torch.manual_seed(seed)
    model = autoencoder() if task == "autoencoder" else cnn()
    loss_of = half_squared_error if task == "autoencoder" else cross_entropy
    used = optimizers(rival, model, setting)
    kfac = None
    if rival == "kfac":
        factors_every, decompose_every = setting["intervals"]
        likelihood = "gaussian" if task == "autoencoder" else "categorical"
        kfac = KFAC(model, likelihood=likelihood, damping=setting["damping"], factors_every=factors_every,
                    decompose_every=decompose_every, kl_clip=setting["kl_clip"], lr=setting["lr"],
                    decay=setting["decay"], method=METHOD[task],
                    seed=seed)
    generator, cpu, reached = torch.Generator().manual_seed(seed), 0.0, {}
    for epoch in range(1, epochs + 1):
        model.train()
        began = time.process_time()
        for rows in torch.randperm(len(x), generator=generator).split(BATCH[task]):
            model.zero_grad()
            loss = loss_of(model(x[rows]), y[rows])
            loss.backward()
            if kfac is not None:
                kfac.step()
            for optimizer in used:
                optimizer.step()
        cpu += time.process_time() - began
        model.eval()
        with torch.no_grad():
            outputs = model(x_test)
            score = half_squared_error(outputs, y_test) if task == "autoencoder" else (
                outputs.argmax(1) == y_test).float().mean()
        score = float(score)
        for target in TARGETS[task]:
            if target not in reached and (score <= target if task == "autoencoder" else score >= target):
                reached[target] = (epoch, cpu)
        if not math.isfinite(score) or last in reached or cpu > limit_s:
            break
    return reached


def settings_of(task, rival):
    if rival != "kfac":
        return [{"lr": lr} for lr in RATES]
    names, values = ["intervals", *PRECONDITIONING], [INTERVALS[task], *PRECONDITIONING.values()]
    return [{"lr": 1.0, **dict(zip(names, each, strict=True))} for each in itertools.product(*values)]


def tune(task, rival, seeds):
    """{(target, "cpu"): the setting with the least median CPU time to it, (target, "epochs"): fewest on average}."""
    found, least = {target: [] for target in TARGETS[task]}, math.inf
    last = TARGETS[task][-1]
    for setting in settings_of(task, rival):
        runs = []
        for seed in seeds:
            runs.append(train(task, rival, setting, seed, EPOCHS[task], last, 2 * least))
            if not runs[-1]:
                break
        for target, reached in found.items():
            if all(target in run for run in runs):
                all_epochs, all_cpu = zip(*(run[target] for run in runs), strict=True)
                # The mean of the epochs: few whole numbers have equal medians, whatever lies behind them.
                epochs, cpu = statistics.mean(all_epochs), statistics.median(all_cpu)
                reached.append((epochs, cpu, setting))
                least = min(least, cpu) if target == last else least
                print(f"  {rival} {setting}: {target} in {epochs:.1f} epochs, {cpu:.2f} s", flush=True)
    best = {}
    for target, reached in found.items():
        best[target, "cpu"] = min(reached, key=lambda it: it[1])[2] if reached else None
        best[target, "epochs"] = min(reached, key=lambda it: it[:2])[2] if reached else None
    return best


def median(values):
    value = statistics.median(math.inf if each is None else each for each in values)
    return None if math.isinf(value) else value


def measure(task, rivals, seeds, tune_seeds):
    """{target: {rival: {tuned for: figures}}}."""
    tuned = {(rival, *key): setting for rival in rivals for key, setting in tune(task, rival, tune_seeds).items()}
    runs = {key: [] for key in tuned}
    for seed in seeds:
        done = {}
        for (rival, target, by), setting in reversed(tuned.items()):  # by turns: a busy machine is busy for all
            key = rival, str(setting)
            if setting is not None and target not in done.get(key, {}):  # who was trained to 1.2 passed 1.5 on the way
                done[key] = train(task, rival, setting, seed, EPOCHS[task], target)
            runs[rival, target, by].append(done.get(key, {}).get(target, (None, None)))
    found = {}
    for (rival, target, by), each in runs.items():
        told = found.setdefault(str(target), {}).setdefault(rival, {})
        told[f"tuned_for_{by}"] = {
            "setting": tuned[rival, target, by], "epochs": median([e for e, _ in each]),
            "cpu_s": median([c for _, c in each]), "all_epochs": [e for e, _ in each],
            "all_cpu_s": [c and round(c, 3) for _, c in each],
        }  # fmt: skip
        print(target, rival, by, told[f"tuned_for_{by}"], flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TARGETS, help="only this one")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune-seeds", type=int)
    parser.add_argument("--muon", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [options.task] if options.task else list(TARGETS)
    rivals = (*RIVALS, "muon") if options.muon else RIVALS
    found = {}
    for task in tasks:
        tuned = range(1000, 1000 + (options.tune_seeds or TUNING[task]))
        found[task] = measure(task, rivals, range(options.seeds), tuned)
    print(json.dumps({"benchmark": "kfac_convergence", **found, "machine": platform.processor() or platform.machine(),
                      "threads": 1, "seeds": options.seeds, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
