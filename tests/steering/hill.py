"""A space with a known best candidate, and simulators that do what simulators do."""

import os
import time

import numpy as np

from scilab.steering import Campaign, Forest

SPACE = [str(number / 200) for number in range(201)]


def features(candidates):
    return np.array([[float(text), float(text) ** 2] for text in candidates])


def height(candidate):
    """Highest, 0, at 0.7."""
    return -((float(candidate) - 0.7) ** 2)


def slow(candidate):
    time.sleep(0.02)
    return height(candidate)


def moody(candidate):
    """Some candidates raise, some give NaN, some come out as something else."""
    number = SPACE.index(candidate)
    if number % 7 == 0:
        raise RuntimeError(f"no convergence for {candidate}")
    if number % 7 == 1:
        return float("nan")
    if number % 7 == 2:
        return {"value": 10.0, "flag": "rearranged", "steps": number}
    return height(candidate)


def deadly(candidate):
    """One candidate kills its worker."""
    if candidate == "0.1":
        os.kill(os.getpid(), 9)
    return height(candidate)


def sleepy(candidate):
    if candidate == "0.1":
        time.sleep(60)
    return height(candidate)


def campaign(simulator=height, space=SPACE, **given):
    values = {
        "budget": 40, "initial": 10, "retrain": 5, "seed": 1, "engine": "threads:2",
        "surrogate": Forest(trees=10, share=0.33, features=features),
    }  # fmt: skip
    return Campaign(space, simulator, **{**values, **given})


def noted(folder):
    """As `slow`, and every start is written down."""

    def simulate(candidate):
        with open(f"{folder}/begun", "a") as file:
            file.write(f"{candidate}\n")
        return slow(candidate)

    return simulate
