"""Ranks of a world together take the steps of one process, whatever the fraction; they can stop and go on elsewhere."""

import pytest
import torch
from rank_cases import EMPIRICAL, INTERVALS, Case, Images, Tokens, in_two_groups, measured_placement, train, train_all

from scilab.kfac import LevenbergMarquardt, place
from scilab.kfac.exchange import Exchange
from scilab.kfac.stopwatch import Stopwatch

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


def one_process(case, _known={}):  # noqa: B006
    """The same work without ranks, which is the same for every fraction."""
    options = {**case.options, "gradient_worker_fraction": 1.0}
    key = repr((case.model, sum(case.shares), options, case.data))
    if key not in _known:
        _known[key] = train(Case(case.model, case.shares, options, data=case.data))
    return _known[key]


def cases(ranks, fraction):
    """(name, case of this world, case of one process)"""
    worker = {"gradient_worker_fraction": fraction}
    for model, sharing, factors, fisher in (
        (Images, UNEQUAL, "owner", {}), (Images, EQUAL, "local", EMPIRICAL), (Images, UNEQUAL, "local", {}),
        (Tokens, UNEQUAL, "local", {}), (Tokens, EQUAL, "owner", EMPIRICAL), (Tokens, UNEQUAL, "owner", EMPIRICAL),
    ):  # fmt: skip
        name = f"{model.__name__} {sharing[ranks]} {factors} {fisher.get('fisher', 'sampled')}"
        yield name, Case(model, sharing[ranks], {"factors": factors, **fisher, **worker})
    for fisher in ({}, EMPIRICAL):
        name = fisher.get("fisher", "sampled")
        yield f"accumulated, {name}", Case(Images, UNEQUAL[ranks], {**fisher, **worker}, micro=2)
        yield f"DDP, {name}", Case(Images, UNEQUAL[ranks], {**fisher, **worker}, ddp=True)
    yield "DDP, accumulated", Case(Tokens, EQUAL[ranks], worker, micro=3, ddp=True)
    yield "inverse", Case(Images, UNEQUAL[ranks], {"method": "inverse", **worker})
    yield "half precision", Case(Tokens, UNEQUAL[ranks], {"basis_dtype": torch.bfloat16, **worker})
    yield "more ranks than layers", Case(Images, EQUAL[ranks], {"skip": ["second", "third", "idle"], **worker})
    yield "a rank without examples", Case(Images, (*UNEQUAL[ranks][:-1], 0), worker)


@pytest.mark.parametrize("ranks, fraction", [(ranks, f) for ranks, fractions in FRACTIONS.items() for f in fractions])
def test_ranks_take_the_steps_of_one_process(ranks, fraction, worlds):
    names, ours = zip(*cases(ranks, fraction), strict=True)
    answers = worlds.run(ranks, train_all, ours)
    for number, (name, case) in enumerate(zip(names, ours, strict=True)):
        alone = one_process(case)
        for rank in range(ranks):
            got = answers[rank][number]
            assert same(got["directions"], answers[0][number]["directions"]), (name, rank)
            # Bases in half precision are rounded where they are nearly the same, on one side or the other.
            assert far(got["directions"], alone["directions"]) < (1e-12 if name != "half precision" else 0.05), name
    books_are_as_predicted(answers, ours, ranks, fraction)


def books_are_as_predicted(answers, ours, ranks, fraction):
    """Held, received and sent, by rank and layer: the predictions to the byte, on every step of every case."""
    for number, case in enumerate(ours):
        by_rank = [answers[rank][number] for rank in range(ranks)]
        reduced_with = "factors_every" if case.options.get("factors") != "local" else "decompose_every"
        for rank, got in enumerate(by_rank):
            predicted, idle = got["predicted"], ("idle",)
            for name, held in predicted.held_by_layer(rank).items():
                assert got["held"][name] == ((held[0], 0) if name in idle and case.model is Images else held)
            for step, (traffic, calls) in enumerate(got["books"]):
                due = {
                    "factors": step % INTERVALS[reduced_with] == 0 and ranks > 1,
                    "decompositions": step % INTERVALS["decompose_every"] == 0 and fraction * ranks > 1,
                    "gradients": fraction < 1,
                }
                for way, wanted in (("received", predicted.received_by_layer), ("sent", predicted.sent_by_layer)):
                    for purpose, layers in wanted(rank).items():
                        assert traffic[way].get(purpose, {}) == (layers if due[purpose] else {}), (purpose, step)
                assert sum(calls.values()) <= 1 + ranks
        for purpose in ("factors", "decompositions", "gradients"):
            received, sent = (
                sum(sum(answer["books"][0][0][way].get(purpose, {}).values()) for answer in by_rank)
                for way in ("received", "sent")
            )
            assert received == sent


def test_a_checkpoint_goes_on_with_the_same_bits_and_elsewhere_with_the_same_steps(worlds):
    """HYBRID-OPT on 4 ranks, stopped between decompositions: there again, on other fractions, 2 ranks and 1."""
    for factors in ("owner", "local"):
        hybrid = {"factors": factors, "gradient_worker_fraction": 0.5}
        straight, saver = worlds.run(4, train_all, [Case(options=hybrid), Case(options=hybrid, keep_at=3)])[0]
        whole = saver["directions"]
        if factors == "owner":
            assert same(whole, straight["directions"])  # to save changes nothing
        else:  # to save adds local averages up earlier
            assert far(whole, straight["directions"]) < 1e-12
        state = saver["state"]
        for ranks, fraction in ((4, 0.5), (4, 0.25), (4, 1.0), (2, 0.5), (2, 1.0)):
            options = {**hybrid, "gradient_worker_fraction": fraction}
            again = worlds.run(ranks, train, Case(shares=EQUAL[ranks], options=options, state=state, begin=3))
            for rank, got in enumerate(again):
                if (ranks, fraction) == (4, 0.5):
                    assert same(got["directions"], whole[3:])
                assert far(got["directions"], whole[3:]) < 1e-12
                assert got["held_at_first"] == {k: sum(v) for k, v in zip(
                    ("factors", "decompositions"), zip(*got["held"].values(), strict=True), strict=True)
                }  # fmt: skip
                assert got["held_at_first"]["factors"] == got["predicted"].factors[rank]
        alone = train(Case(options={"factors": factors}, state=state, begin=3))
        assert far(alone["directions"], whole[3:]) < 1e-12


def test_two_groups_of_one_size_do_not_hear_each_other(worlds):
    ours = [Case(shares=(6, 6), options={"gradient_worker_fraction": f}, data=n) for n, f in enumerate((1.0, 0.5))]
    answers = worlds.run(4, in_two_groups, ours)
    for case, pair in zip(ours, (answers[:2], answers[2:]), strict=True):
        for got in pair:
            assert far(got["directions"], one_process(case)["directions"]) < 1e-12


def test_damping_adapts_alike_on_all_ranks(worlds):
    damping = LevenbergMarquardt(0.1, every=2)
    alone = train(Case(options={"damping": damping, "kl_clip": None}))
    assert alone["damping"] not in (0.1, damping.lowest)
    for fraction in FRACTIONS[4]:
        options = {"damping": damping, "kl_clip": None, "gradient_worker_fraction": fraction}
        for got in worlds.run(4, train, Case(shares=UNEQUAL[4], options=options)):
            assert got["damping"] == alone["damping"]
            assert far(got["directions"], alone["directions"]) < 1e-12


def test_measured_costs_place_layers_alike_on_all_ranks(worlds):
    answers = worlds.run(4, measured_placement)
    assert all(answer == answers[0] for answer in answers)
    assert set(answers[0][0]) == {"first", "second", "idle", "third", "head"}


def test_hybrid_in_a_part_of_the_world_is_refused(monkeypatch):
    monkeypatch.setattr("torch.distributed.get_rank", lambda group: 0)
    monkeypatch.setattr("torch.distributed.get_process_group_ranks", lambda group: [0, 1, 2, 3])
    monkeypatch.setattr("torch.distributed.get_world_size", lambda group=None: 8)
    with pytest.raises(ValueError, match="in a part of the world it must be 1 or 1/4"):
        device = torch.device("cpu")
        Exchange(place({"a": 1.0}, 4, 0.5), object(), device, Stopwatch(device))
