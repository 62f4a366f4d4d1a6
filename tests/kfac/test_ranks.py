"""Ranks of a world together take the steps of one process, whatever the fraction; they can stop and go on elsewhere."""

import itertools

import pytest
import torch
from rank_cases import EMPIRICAL, Case, Images, Tokens, train, train_all

FRACTIONS = {2: (0.5, 1.0), 4: (0.25, 0.5, 1.0)}
EQUAL, UNEQUAL = {2: (6, 6), 4: (3, 3, 3, 3)}, {2: (8, 4), 4: (5, 1, 4, 2)}


def far(one, other):
    """Largest relative distance over steps of all layers' directions together."""
    assert len(one) == len(other)
    found = 0.0
    for a, b in zip(one, other, strict=True):
        a, b = (torch.cat([s[name].flatten() for name in sorted(s) if "idle" not in name]) for s in (a, b))
        found = max(found, float((a - b).norm() / b.norm()))
    return found


def same(one, other):
    """Bit for bit."""
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def cases(ranks, fraction):
    """(name, case of this world, case of one process)"""
    worker = {"gradient_worker_fraction": fraction}
    for model, sharing, factors, fisher in itertools.product(
        (Images, Tokens), (EQUAL, UNEQUAL), ("owner", "local"), ({}, EMPIRICAL)
    ):
        name = f"{model.__name__} {sharing[ranks]} {factors} {fisher.get('fisher', 'sampled')}"
        yield name, Case(model, sharing[ranks], {"factors": factors, **fisher, **worker})
    for fisher in ({}, EMPIRICAL):
        name = fisher.get("fisher", "sampled")
        yield f"accumulated, {name}", Case(Images, UNEQUAL[ranks], {**fisher, **worker}, micro=2)
        yield f"DDP, {name}", Case(Images, UNEQUAL[ranks], {**fisher, **worker}, ddp=True)
    yield "DDP, accumulated", Case(Tokens, EQUAL[ranks], worker, micro=3, ddp=True)
    yield "inverse", Case(Images, UNEQUAL[ranks], {"method": "inverse", **worker})
    yield "a rank without examples", Case(Images, (*UNEQUAL[ranks][:-1], 0), worker)


@pytest.mark.parametrize("ranks, fraction", [(ranks, f) for ranks, fractions in FRACTIONS.items() for f in fractions])
def test_ranks_take_the_steps_of_one_process(ranks, fraction, worlds):
    names, ours = zip(*cases(ranks, fraction), strict=True)
    answers = worlds.run(ranks, train_all, ours)
    for number, (name, case) in enumerate(zip(names, ours, strict=True)):
        alone = train(Case(case.model, case.shares, {**case.options, "gradient_worker_fraction": 1.0}))
        for rank in range(ranks):
            got = answers[rank][number]
            assert same(got["directions"], answers[0][number]["directions"]), (name, rank)
            assert far(got["directions"], alone["directions"]) < 1e-12, (name, rank)
