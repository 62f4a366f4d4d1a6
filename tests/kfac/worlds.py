"""Worlds of real gloo ranks for the tests: four processes, started once, that any number of cases run in."""

import contextlib
import datetime
import multiprocessing
import traceback

import torch
import torch.distributed as dist

CONTEXT = multiprocessing.get_context("forkserver")  # spawned once, with torch imported; then forked in milliseconds
CONTEXT.set_forkserver_preload(["torch", "torch._dynamo", "psutil", "platformdirs"])  # optimizers import _dynamo
PATIENCE_S = 30


def _serve(pipe, rank):
    torch.set_num_threads(1)
    while True:
        where, ranks, function, args = pipe.recv()
        try:
            dist.init_process_group(
                "gloo", init_method=where, rank=rank, world_size=ranks,
                timeout=datetime.timedelta(seconds=PATIENCE_S),
            )  # fmt: skip
            try:
                answer = function(*args)
            finally:
                dist.destroy_process_group()
            pipe.send((True, answer))
        except BaseException:
            pipe.send((False, traceback.format_exc()))


class Worlds:
    """Calls functions of importable modules in worlds of up to `most` ranks: new worlds in the same processes."""

    def __init__(self, folder, most=4):
        self._folder, self._number, self._members = folder, 0, []
        for rank in range(most):
            here, there = CONTEXT.Pipe()
            process = CONTEXT.Process(target=_serve, args=(there, rank), daemon=True)
            process.start()
            there.close()
            self._members.append((process, here))

    def run(self, ranks, function, *args):
        """function(*args) on each rank; the answers by rank. AssertionError with what failing ranks printed."""
        self._number += 1
        where, members = f"file://{self._folder}/world{self._number}", self._members[:ranks]
        for _, pipe in members:
            pipe.send((where, ranks, function, args))
        answers = []
        for rank, (_, pipe) in enumerate(members):
            assert pipe.poll(2 * PATIENCE_S), f"rank {rank} of {ranks} hangs in {function.__name__}"
            answers.append(pipe.recv())
        bad = [f"rank {rank} of {ranks}:\n{answer}" for rank, (good, answer) in enumerate(answers) if not good]
        assert not bad, "\n".join(bad)
        return [answer for _, answer in answers]

    def close(self):
        for process, pipe in self._members:
            process.kill()
            process.join()
            with contextlib.suppress(OSError):
                pipe.close()
