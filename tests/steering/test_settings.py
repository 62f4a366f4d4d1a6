"""Campaigns from plain values and back, and what people may ask of one that runs: models now, molecules by any name."""

import json

import pytest
from hill import SPACE, campaign, slow
from rdkit import Chem
from test_campaign import as_json, kinds, run_with

from scilab.steering import Batch, Campaign, Ensemble, Forest, MultiFidelity, never, ucb
from scilab.steering.acquisitions import SCORES
from scilab.steering.molecules import enumerate_molecules, ionization_potential, quick_ionization_potential
from scilab.steering.presets import DEFAULTS, PRESETS, campaign_arguments, preset
from scilab.steering.records import CampaignStarted, Evaluated, Learned, Refused, Steered

SMALL = {"heavy_atoms": 2, "budget": 8, "initial": 4, "retrain_every": 3, "trees": 10, "threshold": 17.0}


def test_a_campaign_rebuilds_itself_from_its_own_settings(threads):
    one = Campaign.from_settings({**SMALL, "policy": "batch", "batch": 4})
    settings = json.loads(json.dumps(one.settings))
    other = Campaign.from_settings(settings)
    assert other.settings == settings and other.space == one.space == list(enumerate_molecules(2))
    assert settings["simulator"] == {"full": "ionization_potential(method='GFN2')"}
    assert settings["values"] == {**DEFAULTS, **SMALL, "policy": "batch", "batch": 4}
    found = [list(Campaign.from_settings(settings, engine=threads)) for _ in range(2)]
    tables = [{r.candidate: r.value for r in kinds(records, Evaluated)} for records in found]
    assert tables[0] == tables[1] and len(tables[0]) == 8
    assert all(value == ionization_potential(smiles)["value"] for smiles, value in tables[0].items())
    with pytest.raises(ValueError, match="built in code"):
        Campaign.from_settings(campaign().settings)


def test_values_become_what_their_names_say():
    given = campaign_arguments(
        {**SMALL, "surrogate": "ensemble", "members": 3, "policy": "multifidelity", "ratio": 2, "retrain": "once",
         "acquisition": "thompson", "weight": 0.5, "method": "IPEA1", "simulate": 3, "learn_engine": "threads:1"}
    )  # fmt: skip
    assert given["surrogate"] == Ensemble(members=3) and given["policy"] == MultiFidelity(2)
    assert given["retrain"] == never() and given["acquisition"].name == "thompson"
    assert given["simulator"]["cheap"]("C") == quick_ionization_potential("C", "IPEA1")
    assert given["slots"] == {"simulate": 3, "learn": 1}
    assert given["engine"] == {"simulate": "threads:2", "learn": "threads:1"}
    plain = campaign_arguments({"heavy_atoms": 1})
    assert plain["surrogate"] == Forest() and plain["acquisition"] == ucb(1.0) and plain["engine"] == "threads:2"
    assert {*PRESETS} and all({*preset(name)} == {*DEFAULTS} for name in PRESETS)
    for name in SCORES:
        assert campaign_arguments({"acquisition": name, "heavy_atoms": 1})["acquisition"].name == name


@pytest.mark.parametrize(
    ("values", "says"),
    [({"colour": 1}, "no setting colour"), ({"policy": "wild"}, "no policy 'wild'; there are streaming, batch"),
     ({"application": "gold"}, "no application 'gold'; there are ionization_potential"),
     ({"candidates": ["CCO", "C(C"]}, "line 2: 'C\\(C' is no SMILES"), ({"candidates": []}, "no molecule in it"),
     ({"simulate": 0}, "simulate has no slots"), ({"learn": 0}, "learn has no slots"),
     ({"heavy_atoms": 9}, "whole number from 1 to 7")],
)  # fmt: skip
def test_values_without_sense(values, says):
    with pytest.raises(ValueError, match=says):
        Campaign.from_settings({"heavy_atoms": 1, **values})


def test_a_model_when_a_person_asks_for_one(threads):
    one = campaign(slow, policy=Batch(5), retrain=never(), initial=5, engine=threads)
    records = run_with(one, 11, {"retrain": True}, {"retrain": True})
    first, second = kinds(records, Learned)
    assert [r.command for r in kinds(records, Steered)] == [{"retrain": True}] * 2
    why = [d.why for r in records if hasattr(r, "then") for d in r.then if d.what == "train"]
    assert why == ["5 new results", "asked for"]
    assert (first.samples, second.samples) == (5, 15)  # when the batch was done
    assert one.replay(as_json(records)) == 42


def test_a_model_that_cannot_be_had_is_refused(threads):
    one = campaign(slow, retrain=never(untrained=True), slots={"simulate": 2, "learn": 0}, engine=threads)
    one.send({"retrain": True})
    records = run_with(one, 20, {"retrain": True}, {"slots": {"source": "simulate", "to": "learn", "n": 1}},
                       {"retrain": True})  # fmt: skip
    assert [r.reason.split(";")[0] for r in kinds(records, Refused)] == [
        "nothing has come since the last training that a model could learn from", "learn has no slots"]  # fmt: skip
    (learned,) = kinds(records, Learned)
    assert learned.samples >= 20 and kinds(records, Steered)[0].slots == {"simulate": 1, "learn": 1}
    later = [r for r in kinds(records, Evaluated) if r.model == 1]
    assert later and all(r.predicted is not None for r in later)


def test_molecules_by_any_name_and_what_is_none(threads):
    one = Campaign.from_settings({**SMALL, "budget": 12, "candidates": ["C", "CC", "CCC", "CCO", "CO", "N", "O", "CN"]},
                                 engine=threads)  # fmt: skip
    for text in ("C(C", "CC.O"):
        with pytest.raises(ValueError, match=r"line 1: .*Mend"):
            one.send({"inject": text})
    one.send({"inject": "C(N)C"})
    one.send({"pin": "OC"})
    records = list(one)
    assert [r.command for r in kinds(records, Steered)] == [{"inject": "CCN"}, {"pin": "CO"}]
    assert Chem.CanonSmiles("NCC") in {r.candidate for r in kinds(records, Evaluated)}
    with pytest.raises(ValueError, match="has no features for a model to learn from"):
        campaign().send({"inject": "no number"})


def test_the_queue_s_first_after_a_change_of_mind_and_slots_at_the_start(threads):
    one = campaign(slow, initial=10, retrain=never(), engine=threads)
    records = run_with(one, 25, {"acquisition": {"name": "greedy"}}, {"threshold": -0.01})
    assert records[0] == CampaignStarted(
        201, one.digest, 0, 2, {"simulate": 2, "learn": 1}, records[0].ranking, records[0].then
    )
    greedy, threshold = kinds(records, Steered)
    assert len(greedy.top) == 24 and all(score == mean for _, mean, _, score in greedy.top)
    taken = {d.candidate for r in records[: records.index(greedy)] if hasattr(r, "then") for d in r.then
             if d.what == "simulate"}  # fmt: skip
    assert not taken & {candidate for candidate, *_ in greedy.top} and {c for c, *_ in greedy.top} <= set(SPACE)
    done = kinds(records[: records.index(threshold)], Evaluated)
    assert threshold.hits == sum(r.value > -0.01 for r in done)


def test_two_engines_by_name_are_two_sites():
    one = campaign(engine={"simulate": "threads:2", "learn": "threads:1"})
    records = list(one)
    assert records[0].workers == 3 and len(kinds(records, Learned)) >= 1
    assert one.settings["engine"] == {"simulate": "threads:2", "learn": "threads:1"}
    with pytest.raises(ValueError, match="engines by pool are given for simulate and learn"):
        campaign(engine={"simulate": "threads:2"})
