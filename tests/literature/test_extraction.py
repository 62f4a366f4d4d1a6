"""A corpus read into a table of molecules: right, once, and whole again after whatever interrupts it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from extraction_work import DRUGS, PAPERS, extraction, papers, rows
from small_recogniser import ListRecogniser

from scilab.literature import Corpus, Problem
from scilab.literature.extraction import Extraction
from scilab.literature.extraction_records import ChunkFinished, ExtractionFinished, ExtractionStarted, PaperFailed
from scilab.literature.molecule_store import MoleculeStore, MoleculeStoreError
from scilab.literature.sentences import sentence_around
from scilab.planes import Engine
from scilab.runs import Run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    whole = extraction(tmp_path_factory.mktemp("whole") / "molecules.db")
    records = list(whole)
    return records, rows(whole.result), whole.result


def expected():
    """(paper, start, end, raw) by a second, plain reading."""
    found = set()
    for number, text in enumerate(papers()):
        for drug in DRUGS:
            for start in range(len(text)):
                if text[start : start + len(drug)].lower() == drug.lower():
                    found.add((f"text-{number}", start, start + len(drug), text[start : start + len(drug)]))
    return found


def test_the_table_is_what_a_plain_reading_finds(undisturbed):
    records, (mentions, molecules, counts), store = undisturbed
    found = expected()
    assert {(each.paper, each.start, each.end, each.raw) for each in mentions} == found and len(mentions) == len(found)
    for each in mentions:
        text = papers()[int(each.paper.removeprefix("text-"))]
        assert each.sentence[each.in_sentence :].startswith(each.raw) and each.sentence in text
        assert each.sentence == next(part for part in re.split(r"(?<=\.) ", text) if each.raw in part)
    assert [each.key for each in molecules] == sorted(drug.lower() for drug in DRUGS)
    for each in molecules:
        own = [one for one in found if one[3].lower() == each.key]
        assert (each.mentions, each.papers) == (len(own), len({one[0] for one in own}))
        assert each.forms == {raw: sum(one[3] == raw for one in own) for raw in {one[3] for one in own}}
        assert len(store.mentions(each.key)) == each.mentions
        assert each.smiles and 0 < each.qed < 1 and each.score == 0.75  # of the two mentions that were scored
        assert sum(one.score is not None for one in store.mentions(each.key)) == 2
    assert records[0] == ExtractionStarted(records[0].model, records[0].to, 0)
    chunks = [each for each in records if isinstance(each, ChunkFinished)]
    assert records[-1] == ExtractionFinished(**counts)
    assert counts["papers"] == PAPERS == sum(each.papers for each in chunks)
    assert counts["words"] == sum(len(text.split()) for text in papers()) == chunks[-1].words_read
    assert sum(each.new_molecules for each in chunks) == 5 and len(chunks) > 30


def test_read_again_it_skips_everything(undisturbed):
    _, table, store = undisturbed
    again = extraction(store.path)
    assert [type(each) for each in again] == [ExtractionStarted, ExtractionFinished]
    assert rows(again.result) == table


def test_killed_in_the_middle_and_resumed(undisturbed, tmp_path):
    to = tmp_path / "molecules.db"
    program = Path(__file__).with_name("extraction_work.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    killed = subprocess.Popen([sys.executable, program, to], stdout=subprocess.PIPE, text=True, env=environment)
    said = 0
    for line in killed.stdout:
        said += line.strip() == "ChunkFinished"
        if said == 5:
            os.kill(killed.pid, signal.SIGKILL)
            break
    killed.wait()
    killed.stdout.close()
    resumed = extraction(to)
    chunks = [each for each in resumed if isinstance(each, ChunkFinished)]
    assert chunks[-1].skipped >= 10 and chunks[-1].papers_read == PAPERS - chunks[-1].skipped
    assert rows(resumed.result) == undisturbed[1]


@pytest.mark.parametrize("chunks", [1, 7, 20])
def test_left_and_resumed_at_any_chunk(undisturbed, tmp_path, chunks):
    first, seen = extraction(tmp_path / "molecules.db"), []
    for record in first:
        seen += [record] if isinstance(record, ChunkFinished) else []
        if len(seen) == chunks:
            first.send("stop")
    assert len(seen) == chunks  # at once
    second = extraction(tmp_path / "molecules.db")
    read = [each for each in second if isinstance(each, ChunkFinished)]
    assert read[-1].papers_read + seen[-1].papers_read == PAPERS
    assert rows(second.result) == undisturbed[1]


def test_processes_give_the_same_table(undisturbed, tmp_path):
    with Engine.processes(2) as engine:
        by_processes = extraction(tmp_path / "molecules.db", engine=engine)
        assert {each.worker for each in by_processes if isinstance(each, ChunkFinished)} - {None}
        assert rows(by_processes.result) == undisturbed[1]
        # in the same workers: a paper that never ends, one that raises, a line that is no JSON
        lines = tmp_path / "papers.jsonl"
        texts = {f"good {n}": f"aspirin number {n}" for n in range(3)}
        texts |= {"hangs": "ENDLESS aspirin", "raises": "POISON aspirin"}
        whole = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
        lines.write_text("\n".join([*whole, "{no json", ""]))
        recogniser = ListRecogniser(["aspirin"], poison="POISON", endless="ENDLESS")
        careful = Extraction(
            Corpus.jsonl(lines, id="id"), recogniser, engine=engine, to=tmp_path / "bad.db", timeout_s=1.0
        )
        failed = [each for each in careful if isinstance(each, PaperFailed)]
    assert {each.paper for each in careful.result.mentions()} == {"good 0", "good 1", "good 2"}
    assert len(failed) == 3 and set(careful.result.problems()) == {Problem(each.where, each.reason) for each in failed}
    told = {each.where: each.reason for each in failed}
    assert "ValueError: cannot read this" in told["raises"] and "limit of 1 s" in told["hangs"]


def test_a_run_pauses_and_goes_on(undisturbed, tmp_path):
    capability = extraction(tmp_path / "molecules.db", slow_s=0.01)
    reached, paused = threading.Event(), threading.Event()
    run = Run(capability)

    def look(run):
        reached.set() if run.count >= 4 else None
        paused.set() if run.status == "paused" else None

    run.subscribe(look)
    run.start()
    assert reached.wait(60)
    run.pause()
    assert paused.wait(60)
    stored = capability.result.counts()["papers"]
    time.sleep(0.3)  # what two threads would need for a third of the corpus
    assert 0 < capability.result.counts()["papers"] == stored < PAPERS
    run.unpause().wait(60)
    assert run.status == "finished" and run.error is None
    assert rows(capability.result) == undisturbed[1]
    resumable = extraction(tmp_path / "molecules.db")
    resumable.load_records(run.records())  # a resumed run's are accepted; another model's are not
    other = Extraction(Corpus.texts(papers()), ListRecogniser(["aspirin"]), to=tmp_path / "molecules.db")
    with pytest.raises(ValueError, match=r"was begun by model .* give the one that was saved"):
        other.load_records(run.records())


def test_another_model_and_changed_papers_are_read_anew(tmp_path):
    to = tmp_path / "molecules.db"
    one, two = ["aspirin was given", "ibuprofen was given"], ["aspirin was given", "aspirin, then ibuprofen"]
    both = ListRecogniser(["aspirin", "ibuprofen"])
    list(Extraction(Corpus.texts(one), both, to=to))
    changed = Extraction(Corpus.texts(two), both, to=to)
    assert [each.skipped for each in changed if isinstance(each, ChunkFinished)] == [1]
    assert {each.key: each.mentions for each in changed.result.molecules()} == {"aspirin": 2, "ibuprofen": 1}
    only = Extraction(Corpus.texts(two), ListRecogniser(["ibuprofen"]), to=to)
    assert [each.skipped for each in only if isinstance(each, ChunkFinished)] == [0]
    assert {each.key: each.mentions for each in only.result.molecules()} == {"ibuprofen": 1}
    store = MoleculeStore(to)
    assert store.models() == [changed.model, only.model] and store.model == only.model
    assert len(MoleculeStore(to, changed.model).molecules()) == 2


def test_a_second_process_is_told(tmp_path):
    to = tmp_path / "molecules.db"
    program = Path(__file__).with_name("extraction_work.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    other = subprocess.Popen([sys.executable, program, to], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        other.stdout.readline()
        with pytest.raises(MoleculeStoreError, match=f"in use by .*{other.pid}"):
            list(extraction(to))
        assert MoleculeStore(to).counts()["papers"] < PAPERS  # reading is free
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_arguments_that_do_not_fit():
    sample, recogniser = Corpus.sample(), ListRecogniser(["aspirin"])
    with pytest.raises(ValueError, match="chunk_words is a whole number from 1, got 0"):
        Extraction(sample, recogniser, chunk_words=0)
    with pytest.raises(ValueError, match="recogniser is a trained Recogniser"):
        Extraction(sample, None)
    with pytest.raises(ValueError, match="understands 'pause', 'resume' and 'stop'"):
        Extraction(sample, recogniser).send("go")


def test_sentences():
    text = "We saw Smith et al. before. Patients (Fig. 2) got 0.5 mg aspirin, e.g. daily!  Then “Next” came.\nA heading"
    cases = {
        "Smith": "We saw Smith et al. before.",
        "aspirin": "Patients (Fig. 2) got 0.5 mg aspirin, e.g. daily!",
        "Next": "Then “Next” came.",
        "heading": "A heading",
    }
    for word, sentence in cases.items():
        start = text.index(word)
        first, found = sentence_around(text, start, start + len(word))
        assert (found, text[first : first + len(found)]) == (sentence, sentence)
    long = "x " * 5000 + "aspirin" + " y" * 5000
    first, found = sentence_around(long, 10000, 10007)
    assert found in long and len(found) <= 1207 and found[10000 - first :].startswith("aspirin")
