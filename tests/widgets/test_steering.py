"""The panel of a campaign, driven without a page; the pages are the matter of tests/browser."""

import csv
import io
import re
import time

import pytest
from hill import SPACE, campaign, height, moody, sleepy, slow

from scilab.runs import Journal, Run
from scilab.steering import Campaign, Interleaved, MultiFidelity, never
from scilab.steering.applications import APPLICATIONS
from scilab.steering.molecules import ionization_potential
from scilab.steering.presets import preset
from scilab.steering.utilisation import IDLE, utilisation
from scilab.widgets import JournalWidget, SteeringWidget, molecule, steering_picture, workers
from scilab.widgets.steering_fields import as_settings, values_of

HERE = {"quantity": "height", "unit": "m", "drawn": False}
SMALL = {"space": "4", "threshold": 15.5, "budget": 24, "initial": 10, "retrain_every": 5, "trees": 20}


def wait_until(holds, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(panel, kind):
    return [record for record in panel.run.records() if record["kind"] == kind]


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    """(records, settings) of a campaign on the hill that people steered; its threshold lies at 0.1 from the top."""
    journal = Journal(tmp_path_factory.mktemp("a") / "journal.db")
    run = Run(campaign(slow, budget=60, threshold=-0.01, policy=Interleaved()), journal=journal).start()
    wait_until(lambda: run.progress["done"] >= 20)
    run.pause()
    for command in ({"pin": "0.005"}, {"ban": "0.01"}, {"inject": "0.7001"}, {"threshold": -0.0025},
                    {"acquisition": {"name": "greedy"}}, {"slots": {"source": "simulate", "to": "learn", "n": 1}},
                    {"unban": "0.995"}):
        run.command(command)
    run.unpause()
    assert run.wait(60).status == "finished"
    return run.records(), run.settings


def test_molecules_are_searched_steered_stopped_and_resumed_from_the_panel():
    panel = SteeringWidget()
    panel.set(**{**SMALL, "budget": 200, "policy": "interleaved"})
    panel.launch()
    wait_until(lambda: panel.run.progress["done"] >= 14)
    assert panel.act("command", command={"ban": "CCF"})["ok"]
    assert panel.act("command", command={"pin": "OCC"})["ok"], "as people write it"
    assert panel.act("command", command={"acquisition": {"name": "thompson", "weight": 0.5}})["ok"]
    wait_until(lambda: panel.run.progress["done"] >= 24)
    answer = panel.act("command", command={"inject": "C1CC"})
    assert not answer["ok"] and "'C1CC' is no SMILES" in answer["message"]
    panel.act("stop")
    assert panel.wait(60) == "stopped"
    picture = panel.picture
    live = picture["live"]
    assert live["acquisition"] == {"name": "thompson", "weight": 0.5} and live["banned"] == ["CCF"]
    assert [text for _, text in picture["charts"]["best"]["marks"]] == ["ban CCF", "pin CCO", "thompson 0.5"]
    assert [point[3] for point in picture["values"]["points"] if point[2] == steering_picture.HAND] == ["CCO"]
    other = SteeringWidget()
    assert other.act("open", id=panel.run.id)["ok"]
    assert {**other.picture, "version": 0} == {**picture, "version": 0, "uploads": False}
    other.act("resume")
    wait_until(lambda: other.run.progress["done"] >= panel.run.progress["done"] + 5)
    other.act("stop")
    assert other.wait(60) == "stopped"
    names = [record["candidate"] for record in told(other, "Evaluated")]
    assert len(set(names)) == len(names) and "CCF" not in names
    assert "Resumed after" in " ".join(other.picture["messages"])
    times = [point[0] for point in other.picture["values"]["points"]]
    assert times == sorted(times) and times[-1] < 120, "the time between does not count"


def test_the_picture_says_what_the_records_say(steered):
    records, settings = steered
    picture = steering_picture.draw(records, steering_picture.begin(settings, HERE))
    ended = [record for record in records if record["kind"] == "Evaluated"]
    points = picture["values"]["points"]
    assert [point[3] for point in points] == [record["candidate"] for record in ended]
    assert [point[1] for point in points] == [height(point[3]) for point in points]
    began = ended[0]["submitted"]
    assert [point[0] for point in points] == pytest.approx([record["ended"] - began for record in ended], abs=1e-3)
    start = [point for point in points if point[2] == steering_picture.START]
    hand = {point[3] for point in points if point[2] == steering_picture.HAND}
    assert all(point[4] is None for point in start) and hand == {"0.005", "0.7001"}
    hits = sum(height(record["candidate"]) > -0.0025 for record in ended)
    assert picture["charts"]["hits"]["series"]["this campaign"]["points"][-1] == [60, hits]
    best = max(ended, key=lambda record: record["value"])
    assert picture["charts"]["best"]["series"]["this campaign"]["points"][-1] == [60, best["value"]]
    assert picture["found"][0] == [best["candidate"], best["value"]] and len(picture["found"]) == 6
    assert picture["values"]["level"][0] == [0, -0.01] and picture["values"]["level"][-1][1] == -0.0025
    rate = sum(point[1] > -0.0025 for point in start) / len(start)
    references = picture["charts"]["hits"]["references"]
    assert references["random, estimated from the start"]["points"] == [[0, 0], [60, round(60 * rate, 3)]]
    errors = [abs(point[1] - point[4]) for point in points if point[4] is not None][-steering_picture.LATEST:]
    shown = picture["charts"]["error"]["series"]["this campaign"]["points"][-1][1]
    assert shown == pytest.approx(sum(errors) / len(errors), abs=1e-4)
    assert picture["live"] == {
        "acquisition": {"name": "greedy"}, "threshold": -0.0025, "budget": 60, "pinned": [], "banned": ["0.01"],
        "slots": {"simulate": [0, 1], "learn": [0, 2]}}
    assert picture["messages"] == ["Not done, unban 0.995: it is not banned", picture["messages"][-1]]
    marks = [text for _, text in picture["charts"]["hits_time"]["marks"]]
    assert marks == ["pin 0.005", "ban 0.01", "inject 0.7001", "threshold -0.0025", "greedy", "1 slot to learn"]
    top = [record for record in records if record.get("top")][-1]["top"]
    taken = {decision["candidate"] for record in records[records.index(next(
        record for record in records if record.get("top") == top)):] for decision in record.get("then") or ()
        if decision["what"] == "simulate"}
    assert [row[0] for row in picture["queue"]["rows"]] == [row[0] for row in top if row[0] not in taken | {"0.01"}][:6]


def test_the_picture_is_the_same_however_the_records_come(steered):
    records, settings = steered
    whole = steering_picture.draw(records, steering_picture.begin(settings, HERE))
    parts = steering_picture.begin(settings, HERE)
    for record in records:
        before = repr(parts)
        more = steering_picture.draw([record], parts)
        assert repr(parts) == before, "the given picture stays"
        parts = more
    assert parts == whole


def test_workers_lanes_and_idle_reasons_are_those_of_the_campaign(steered):
    records, settings = steered
    picture = steering_picture.draw(records, steering_picture.begin(settings, HERE))
    found = utilisation(records)
    shown, kinds = picture["gantt"], [kind["name"] for kind in picture["gantt"]["kinds"]]
    assert shown["rows"] == ["worker 1", "worker 2"] and shown["share"] == found.share and not shown["cut"]
    simulated = sum(bar[2] for bar in shown["bars"] if kinds[bar[3]] == "simulation")
    assert simulated == pytest.approx(found.busy["simulate"], abs=0.01)
    assert {kinds[bar[3]] for bar in shown["bars"]} >= {"simulation", "training", "inference"}
    assert set(workers.IN_SHORT) == set(IDLE), "each reason has a word that fits beside a bar"
    idle = picture["bars"]["idle"]["series"]["idle"]
    assert idle == sorted(idle, reverse=True) and sum(idle) <= sum(found.idle.values()) + 0.01


def evaluated(number, value):
    return {"kind": "Evaluated", "index": number, "candidate": f"c{number}", "fidelity": "full", "value": value,
            "hit": value > 1, "best": value, "hits": 0, "flag": None, "details": {}, "model": 0, "predicted": None,
            "uncertainty": None, "submitted": number, "sent": number, "started": number, "ended": number + 1.0,
            "received": number + 1.0, "heard": number + 1.0, "worker": "w", "attempts": 1, "cached": False,
            "counts": True, "then": []}


def test_a_long_campaign_stays_bounded_and_keeps_its_hits(steered):
    _, settings = steered
    picture = steering_picture.begin({**settings, "threshold": 1.0}, HERE)
    start = {"kind": "CampaignStarted", "space": 10_000, "workers": 1, "slots": {"simulate": 1, "learn": 1}, "then": []}
    picture = steering_picture.draw([start], picture)
    for low in range(0, 6000, 500):
        picture = steering_picture.draw([evaluated(i, 2.0 if i % 100 == 0 else 0.0) for i in range(low, low + 500)],
                                        picture)
    points = picture["values"]["points"]
    assert len(points) <= steering_picture.POINTS and points[-1][3] == "c5999"
    assert [point[3] for point in points if point[1] > 1] == [f"c{i}" for i in range(0, 6000, 100)]
    assert picture["values"]["left_out"] == 6000 - len(points)
    assert len(picture["gantt"]["bars"]) <= 500 and picture["gantt"]["cut"]


def test_screened_flagged_and_failed_simulations_have_kinds_of_their_own(tmp_path):
    panel = SteeringWidget(campaign({"cheap": height, "full": moody}, budget=30, policy=MultiFidelity(2)),
                           journal=Journal(tmp_path / "journal.db"))
    panel.launch()
    assert panel.wait(60) == "finished"
    cheap = [record for record in told(panel, "Evaluated") if not record["counts"]]
    flagged = [record for record in told(panel, "Evaluated") if record["flag"]]
    counts = {kind: sum(point[2] == kind for point in panel.picture["values"]["points"]) for kind in range(6)}
    assert counts[steering_picture.SCREENED] == len(cheap) > 0
    assert counts[steering_picture.FLAGGED] == len(flagged) > 0
    assert counts[steering_picture.FAILED] == len(told(panel, "Failed")) > 0
    messages = " ".join(panel.picture["messages"])
    assert "no convergence for" in messages and "not a number" in messages
    tiles = {tile["label"]: tile["value"] for tile in panel.picture["tiles"]}
    assert tiles["Failed, flagged"] == f"{len(told(panel, 'Failed'))}, {len(flagged)}"
    assert tiles["Simulated"] == "30 of 30"


def test_a_simulator_that_hangs_is_named(tmp_path):
    panel = SteeringWidget(campaign(sleepy, space=["0.1", "0.2"], budget=2, timeout_s=0.3, retrain=never()),
                           journal=Journal(tmp_path / "journal.db"))
    panel.launch()
    assert panel.wait(60) == "finished"
    assert any(text.startswith("0.1 failed (timeout):") for text in panel.picture["messages"])


def test_an_engine_that_cannot_start_is_named(tmp_path):
    class Broken:
        name, workers = "a cluster", 1

        def session(self, name):
            raise RuntimeError("a cluster: sbatch is not on this machine")

    panel = SteeringWidget(campaign(engine=Broken()), journal=Journal(tmp_path / "journal.db"))
    panel.launch()
    assert panel.wait(60) == "failed"
    assert panel.problem["message"] == "RuntimeError: a cluster: sbatch is not on this machine"


@pytest.mark.parametrize(("typed", "field", "said"), [
    ({"space": "file"}, "file", "Give the path of a file with one SMILES a line."),
    ({"space": "file", "file": "/nowhere.smi"}, "file", "There is no file at “/nowhere.smi”"),
    ({"space": "uploaded"}, "space", "Nothing is uploaded yet"),
    ({"application": "alloy_stability", "elements": "Cu, Fe"}, "elements", "EMT knows no “Fe”"),
    ({"application": "alloy_stability", "elements": "Cu Cu"}, "elements", "An alloy has two elements at least"),
    ({"surrogate": "potential"}, "surrogate", "Potentials are for water"),
    ({"learn": 0}, "learn", "A model is to be trained: give learning 1 slot"),
    ({"simulate": 0}, "simulate", "A whole number from 1"),
    ({"budget": 10}, "initial", "At most the budget, 10."),
    ({"weight": -1}, "weight", "A number from 0"),
    ({"cache": "/nowhere/results.db"}, "cache", "There is no folder /nowhere"),
])
def test_mistakes_stand_beside_their_field(typed, field, said):
    panel = SteeringWidget()
    assert said in panel.set(**typed)[field]
    assert not panel.head["buttons"]["launch"]["on"]
    assert panel.code == ""


def test_a_bad_smiles_file_is_named_by_its_lines_and_an_empty_one_as_empty(tmp_path):
    file = tmp_path / "mine.smi"
    panel = SteeringWidget()
    for text, said in (("CCO ethanol\nC1CC\nCC\nxyz\n", "line 2: 'C1CC' is no SMILES; line 4: 'xyz' is no SMILES"),
                       ("# nothing\n", "there is no molecule in it")):
        file.write_text(text)
        assert said in panel.set(space="file", file=str(file))["file"]
        answer = panel.act("upload", data=text.encode(), name="mine.smi")
        assert not answer["ok"] and said in answer["message"] and answer["message"].startswith("mine.smi: ")
    file.write_text("smiles\nOCC\nCCO\nC=O\n")
    assert panel.set(space="file", file=str(file)) == {}
    assert "2 candidates." in panel.form["estimate"]["text"]
    assert panel.act("upload", data=b"CC\nOCC\n")["molecules"] == 2
    assert panel.errors == {} and panel.values["space"] == "uploaded"
    panel.set(budget=2, initial=2)
    panel.launch()
    assert panel.wait(60) == "finished"
    found = {record["candidate"]: record["value"] for record in told(panel, "Evaluated")}
    assert found == {name: ionization_potential(name)["value"] for name in ("CC", "CCO")}
    again = SteeringWidget()
    again.act("open", id=panel.run.id)
    assert again.values["candidates"] == ("CC", "CCO"), "what was uploaded is in the journal"


def test_fields_and_settings_say_the_same():
    panel = SteeringWidget()
    panel.set(**SMALL, policy="batch", batch=7, goal="lowest", engine="processes", learn_engine="threads")
    assert panel.errors == {}
    settings = Campaign.from_settings(as_settings(panel.values)).settings
    back = values_of(settings)
    assert {name: value for name, value in panel.values.items() if back[name] != value} == {}
    assert values_of(campaign().settings) is None


@pytest.mark.parametrize("typed", [
    {}, {"retrain": "never", "timeout_s": None}, {"policy": "batch", "retrain": "once", "acquisition": "greedy"},
    {"policy": "multifidelity", "method": "IPEA1", "surrogate": "ensemble", "acquisition": "expected improvement",
     "retrain": "drift", "goal": "lowest", "learn_engine": "threads", "retries": 2},
    {"acquisition": "thompson", "weight": 0.5, "policy": "interleaved"},
    {"application": "alloy_stability", "elements": "Cu, Au"}, {"application": "water_potential", "clusters": 30},
])
def test_the_code_builds_what_the_panel_builds(typed):
    panel = SteeringWidget()
    panel.set(**{**SMALL, "trees": 100}, **typed)
    names = {}
    exec(panel.code.split("run = Run")[0], names)
    mine, built = names["campaign"].settings, Campaign.from_settings(as_settings(panel.values)).settings
    for settings in (mine, built):
        settings.pop("values")
        settings["simulator"] = {name: told.replace("(method='GFN2')", "")
                                 for name, told in settings["simulator"].items()}
    assert mine == built


def test_choosing_what_is_searched_for_fills_in_what_suits_it():
    panel = SteeringWidget()
    usual = dict(panel.values)
    for application in ("alloy_stability", "water_potential"):
        assert panel.set(application=application) == {}
        suits = preset(application)
        names = ("threshold", "budget", "initial", "surrogate", "acquisition", "policy")
        assert {name: panel.values[name] for name in names} == {name: suits[name] for name in names}
        assert panel.values["goal"] == ("highest" if suits["maximize"] else "lowest")
        unit = panel.picture["values"]["y"]["unit"]
        assert unit == APPLICATIONS[application].unit and not panel.picture["drawn"] and not panel.picture["uploads"]
    panel.set(application="ionization_potential")
    assert panel.values == usual
    panel.set(application="alloy_stability", elements="Cu, Au", budget=12, initial=6)
    panel.launch()
    assert panel.wait(60) == "finished"
    values = [record["value"] for record in told(panel, "Evaluated")]
    assert panel.picture["found"][0][1] == min(values) and len(values) == 12


def test_another_acquisition_comes_with_its_own_weight():
    panel = SteeringWidget()
    panel.set(acquisition="expected improvement")
    assert panel.values["weight"] == 0, "a margin"
    panel.set(acquisition="ucb")
    assert panel.values["weight"] == 1
    panel.set(acquisition="expected improvement", weight=0.2)
    assert panel.values["weight"] == 0.2


def test_the_table_has_every_simulation_with_its_provenance(steered, tmp_path):
    panel = SteeringWidget(campaign(moody, budget=25), journal=Journal(tmp_path / "journal.db"))
    assert "No run is shown" in panel.act("download", what="table")["message"]
    panel.launch()
    assert panel.wait(60) == "finished"
    rows = list(csv.DictReader(io.StringIO(panel.table().decode())))
    ended = [record for record in panel.run.records() if record["kind"] in ("Evaluated", "Failed")]
    assert [row["smiles"] for row in rows] == [record["candidate"] for record in ended]
    why = {decision["candidate"]: decision["why"] for record in panel.run.records()
           for decision in record.get("then") or () if decision["what"] == "simulate"}
    for row, record in zip(rows, ended, strict=True):
        assert row["value"] == ("" if record["kind"] == "Failed" else repr(record["value"]))
        assert (row["chosen"], row["simulator"], row["run"]) == (why[row["smiles"]], "moody", panel.run.id)
        assert row["flag"] == (record.get("flag") or "") and row["reason"] == record.get("reason", "")
    assert any(re.fullmatch(r"steps \d+", row["details"]) for row in rows)


def test_an_unguided_search_of_the_same_space_stands_for_chance(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    unguided = Run(campaign(budget=40, retrain=never(untrained=True)), "blind", journal).start().wait()
    Run(campaign(space=SPACE[:100], budget=40, retrain=never(untrained=True)), "elsewhere", journal).start().wait()
    panel = SteeringWidget(campaign(budget=30, threshold=-0.01, seed=2), journal=journal)
    panel.launch()
    assert panel.wait(60) == "finished"
    panel = SteeringWidget(panel.run.journal.run(panel.run.id), journal=journal)
    values = [record["value"] for record in unguided.records() if record["kind"] == "Evaluated"]
    rate = sum(value > -0.01 for value in values) / 40
    references = panel.picture["charts"]["hits"]["references"]
    assert references["random: blind"]["points"] == [[0, 0], [30, round(30 * rate, 3)]]
    assert references["ceiling"]["points"][-1] == [30, 30] and rate > 0
    best = panel.picture["charts"]["best"]["references"]["random: blind"]["points"]
    assert best[-1] == [30, max(values[:30])]
    assert best == sorted(best), "it never falls"


def test_two_campaigns_are_compared(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    runs = [Run(campaign(budget=30, threshold=-0.01, retrain=retrain), name, journal).start().wait()
            for name, retrain in (("often", 5), ("once", never()))]
    panel = SteeringWidget(journal=journal)
    assert panel.act("compare", ids=[run.id for run in runs])["ok"]
    both = panel.comparison
    assert set(both["charts"]["hits"]["series"]) == {"often", "once"}
    assert ["retrain.name", "Every", "Never"] in both["settings"]
    assert ["Simulated", "30 of 30", "30 of 30"] in both["numbers"]
    assert set(both["bars"]["idle"]["series"]) == {"often", "once"}


def test_the_journal_opens_a_campaign(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    run = Run(campaign(budget=10), "mine", journal).start().wait()
    browser = JournalWidget(journal)
    assert browser.browser.act("open", id=run.id)["ok"]
    assert isinstance(browser.shown, SteeringWidget) and browser.shown.head["status"] == "finished"


def test_molecules_are_drawn_in_colours_for_both_themes():
    drawing = molecule.drawn("OCC#N")
    assert drawing.startswith("<svg") and "#D55E00" in drawing.upper() and "#0072B2" in drawing.upper()
    assert "currentColor" in drawing and "#000000" not in drawing and "<rect" not in drawing
    assert molecule.drawn("0.7") == molecule.drawn("C1CC") == ""
    panel = SteeringWidget()
    assert panel.act("depict", candidates=["OCC#N", "0.7"])["drawings"] == {"OCC#N": drawing, "0.7": ""}


def test_what_is_sent_stays_small(pages, tmp_path):
    panel = SteeringWidget(campaign(slow, budget=150), journal=Journal(tmp_path / "journal.db"))
    page = pages[panel.comm.comm_id]
    panel.launch()
    assert panel.wait(60) == "finished"
    sizes = [len(str(data["state"])) for data in page.messages[1:]]
    assert max(sizes) < 60_000
    assert page.state["picture"] == panel.picture
