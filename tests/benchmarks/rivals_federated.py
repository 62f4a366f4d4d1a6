"""Flat federated averaging by Flower's simulation, by pfl-research and by a bare loop, beside `federated_vs_rivals.py`.

Each runs in a process of its own. Needs torch, numpy and psutil, and for its engine:

    pip install "flwr[simulation]==1.41.0" pfl==0.6.0 torch==2.13.0 psutil
    python tests/benchmarks/rivals_federated.py --engine flower --task task.npz --rounds 4

The task, written by the other script, holds the data, each client's rows, the first weights, and a seed for each round
and client, by which it shuffles its rows: so all do the same sums. The last line is JSON.
"""

import argparse
import functools
import json
import os
import sys
import time

os.environ |= {"OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np
import torch
from metering import Memory, cpu_s, machine, workers
from torch import nn

STARTED = time.perf_counter()


class Classifier(nn.Sequential):
    """The network of `scilab.models.mlp`; with `ballast` more numbers that travel and do nothing."""

    def __init__(self, ballast: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        if ballast:
            self.register_parameter("ballast", nn.Parameter(torch.zeros(ballast)))

    def loss(self, x, y, is_eval=False):
        """As pfl asks for it."""
        return nn.functional.cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x, y, is_eval=True):
        """As pfl asks for it: none."""
        return {}


@functools.lru_cache(maxsize=1)
def task(path: str) -> dict:
    """The arrays of the task as tensors, read once a process."""
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def first_weights(given: dict) -> dict:
    """The state all start from."""
    return {name.removeprefix("w:"): value for name, value in given.items() if name.startswith("w:")}


def new_model(given: dict) -> Classifier:
    """A model to load weights into."""
    return Classifier(len(given["w:ballast"]) if "w:ballast" in given else 0)


def rows_of(given: dict, client: int) -> torch.Tensor:
    """The row numbers of one client."""
    return given["rows"][given["cuts"][client] : given["cuts"][client + 1]]


def client_update(
    path: str, state: dict, client: int, number: int, model: Classifier | None = None
) -> tuple[dict, int]:  # fmt: skip
    """One client's local training from `state` in round `number` (from 1), in a model that may be given: its state and
    number of samples.
    """
    given = task(path)
    rows, model = rows_of(given, client), model or new_model(given)
    x, y = given["x"][rows], given["y"][rows]
    model.load_state_dict(state)
    optimiser = torch.optim.SGD(model.parameters(), lr=float(given["lr"]))
    order = torch.Generator().manual_seed(int(given["seeds"][number - 1, client]))
    for batch in torch.randperm(len(rows), generator=order).split(int(given["batch"])):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    return model.state_dict(), len(rows)


def accuracy(path: str, state: dict) -> float:
    """On the test rows."""
    given = task(path)
    model = new_model(given)
    model.load_state_dict(state)
    with torch.no_grad():
        return float((model(given["xt"]).argmax(1) == given["yt"]).double().mean())


class Rounds:
    """Wall and CPU seconds of each round."""

    def __init__(self, memory: Memory) -> None:
        self.wall, self.cpu, self._memory, self._others = [], [], memory, []

    def begin(self) -> None:
        """A round begins."""
        self._cpu, self._wall = cpu_s(self._others, self._memory), time.perf_counter()

    def end(self) -> None:
        """A round ends."""
        self.wall.append(time.perf_counter() - self._wall)
        self._others = self._others or workers()  # all are there by the end of the first round
        self.cpu.append(cpu_s(self._others, self._memory) - self._cpu)


def by_loop(path: str, rounds: int, timed: Rounds) -> dict:
    """The least that averaging needs: one client after another, a running sum."""
    given = task(path)
    state, clients, model = first_weights(given), len(given["cuts"]) - 1, new_model(given)
    for number in range(1, rounds + 1):
        timed.begin()
        total, samples = {}, 0
        for client in range(clients):
            local, n = client_update(path, state, client, number, model)
            samples += n
            for name, value in local.items():
                total[name] = total.get(name, 0.0) + value.double() * n
        state = {name: (value / samples).float() for name, value in total.items()}
        timed.end()
    return state


def flower_client() -> object:
    """The client's app; Ray pickles it by reference to this module."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message, context):
        config = message.content["config"]
        state = message.content["arrays"].to_torch_state_dict()
        client = int(context.node_config["partition-id"])
        state, samples = client_update(str(config["task"]), state, client, int(config["server-round"]))
        content = {"arrays": ArrayRecord(state), "metrics": MetricRecord({"num-examples": samples})}
        return Message(content=RecordDict(content), reply_to=message)

    return app


def by_flower(path: str, rounds: int, timed: Rounds) -> dict:
    """Flower's simulation, two Ray actors."""
    from flwr.app import ArrayRecord, ConfigRecord
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    clients, last = len(task(path)["cuts"]) - 1, {}

    class Timed(FedAvg):
        def configure_train(self, *args, **kwargs):
            timed.begin()
            return super().configure_train(*args, **kwargs)

        def aggregate_train(self, server_round, replies):
            replies = list(replies)
            if len(replies) < clients or any(reply.has_error() for reply in replies):
                raise RuntimeError(f"round {server_round}: a client failed")
            arrays, metrics = super().aggregate_train(server_round, replies)
            timed.end()
            last["arrays"] = arrays
            return arrays, metrics

    server = ServerApp()

    @server.main()
    def main(grid, context):
        every = {"min_train_nodes": clients, "min_available_nodes": clients}
        strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, **every)
        strategy.start(
            grid=grid, initial_arrays=ArrayRecord(first_weights(task(path))), num_rounds=rounds,
            train_config=ConfigRecord({"task": path}),
        )  # fmt: skip

    ray = {"address": "local", "num_cpus": 2, "object_store_memory": 512 << 20, "log_to_driver": False}
    run_simulation(
        server_app=server, client_app=flower_client(), num_supernodes=clients,
        backend_config={"init_args": ray, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )  # fmt: skip
    return last["arrays"].to_torch_state_dict()


def by_pfl(path: str, rounds: int, timed: Rounds) -> dict:
    """pfl-research in one process; it walks a client's rows in order."""
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
    from pfl.metrics import Metrics
    from pfl.model.pytorch import PyTorchModel

    given, module = task(path), new_model(task(path))
    module.load_state_dict(first_weights(given))
    clients = len(given["cuts"]) - 1

    class Timing(TrainingProcessCallback):
        def on_train_begin(self, *, model):
            timed.begin()
            return Metrics()

        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            timed.end()
            timed.begin()
            return False, Metrics()

    def user(client):
        rows = rows_of(given, client)
        return Dataset([given["x"][rows], given["y"][rows]], user_id=str(client))

    def population():
        return FederatedDataset(user, get_user_sampler("minimize_reuse", range(clients)))

    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds, evaluation_frequency=10**9, train_cohort_size=clients, val_cohort_size=0
        ),
        backend=SimulatedBackend(
            training_data=population(), val_data=population(), postprocessors=[WeightByDatapoints()]
        ),
        model=PyTorchModel(
            model=module, local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
        ),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=float(given["lr"]), local_batch_size=int(given["batch"])
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None), callbacks=[Timing()],
    )  # fmt: skip
    return module.state_dict()


def main() -> None:
    """One engine, one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["loop", "flower", "pfl"], required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    load, memory = os.getloadavg()[0], Memory()
    timed = Rounds(memory)
    memory.start()
    run = {"loop": by_loop, "flower": by_flower, "pfl": by_pfl}[chosen.engine]
    state = run(os.path.abspath(chosen.task), chosen.rounds, timed)
    print(json.dumps({
        "wall_s": timed.wall, "cpu_s": timed.cpu, "whole_s": time.perf_counter() - STARTED,
        "peak_pss_mb": memory.stop(), "accuracy": accuracy(os.path.abspath(chosen.task), state), "load_before": load,
        **machine("torch", "numpy", "flwr", "ray", "pfl"),
    }))  # fmt: skip


if __name__ == "__main__":
    # what Ray pickles must not live in __main__
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])
    from rivals_federated import main as run_main

    run_main()
