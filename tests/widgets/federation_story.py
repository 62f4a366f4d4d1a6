"""What a federation would tell of itself, made up: records for the tests of its picture."""

import random

from scilab.widgets.federation_picture import begin


def story(topology, rounds, fails=(), seed=0):
    """Records as a federation yields them, devices in random order; device numbers in ``fails`` fail in round 2."""
    order, n, records = random.Random(seed), 0, []
    for number in range(1, rounds + 1):
        told = [{"kind": "RoundStarted", "round": number, "devices": len(topology.workers)}]
        for i in order.sample(range(len(topology.workers)), len(topology.workers)):
            device = {"round": number, "device": topology.workers[i]}
            if number == 2 and i in fails:
                told.append({"kind": "DeviceFailed", **device, "reason": "out of memory"})
            else:
                device |= {"samples": 2, "loss": 1.0, "seconds": 0.1, "worker": "t", "began": number - 1 + i / 1000}
                told.append({"kind": "DeviceFinished", **device})
        tiers = [[10, 20]] * (max(topology.depth.values()))
        told.append({"kind": "RoundFinished", "round": number, "accuracy": number / 10, "loss": 1 / number,
                     "seconds": 0.5, "bytes_down": 10 * len(tiers), "bytes_up": 20 * len(tiers), "bytes_by_tier": tiers,
                     "failed": len(fails) if number == 2 else 0, "train_loss": 0.5 / number})
        records += told
    for n, record in enumerate(records, 1):
        record |= {"n": n, "t": 0.0}
    return records


def start(topology, **settings):
    return begin({"topology": topology.to_dict(), **settings})
