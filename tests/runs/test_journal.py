"""The journal as a person keeps it: lists, names, notes, deleting, pruning, size."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest
from test_run import Tick, ticks, until
from walk import Walk

from scilab.runs import Journal, JournalError, Run


@dataclass(frozen=True)
class Page:
    text: str


def pages(count):
    for _ in range(count):
        yield Page("x" * 10_000)


def test_the_default_path(monkeypatch, tmp_path):
    monkeypatch.setenv("SCILAB_JOURNAL", str(tmp_path / "mine" / "runs.db"))
    assert Journal().path == tmp_path / "mine" / "runs.db"
    assert (tmp_path / "mine" / "runs.db").exists()
    monkeypatch.delenv("SCILAB_JOURNAL")
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / "data" / name)
    assert Journal().path == tmp_path / "data" / "scilab" / "journal.db"
    monkeypatch.chdir(tmp_path)
    assert Journal("here.db").path == tmp_path / "here.db"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Journal("~/there.db").path == tmp_path / "there.db"


def test_runs_are_listed_newest_first():
    journal = Journal()
    assert journal.runs() == []
    runs = [Run(ticks(count), journal=journal).start().wait() for count in (1, 2, 3)]
    assert [(run.id, run.count) for run in journal.runs()] == [(run.id, run.count) for run in reversed(runs)]


def test_names_and_notes_last():
    run = Run(ticks(1), name="a", notes="b").start().wait()
    Journal().rename(run.id, "Größe 'x'; DROP TABLE runs")
    Journal().note(run.id, "two\nlines")
    stored = Journal().run(run.id)
    assert (stored.name, stored.notes) == ("Größe 'x'; DROP TABLE runs", "two\nlines")
    with pytest.raises(TypeError, match="names and notes are text, not 3"):
        Journal().rename(run.id, 3)


def test_an_unknown_id_says_so():
    journal = Journal()
    for ask in (
        journal.run, journal.delete, lambda id: journal.rename(id, "x"), lambda id: journal.note(id, "x"),
        lambda id: journal.export(id, "x.scilab-run"), journal.settings_text,
    ):  # fmt: skip
        with pytest.raises(JournalError, match=r"there is no run 'abc' in .*journal\.db; journal\.runs\(\) lists"):
            ask("abc")


def test_a_stored_run_is_a_picture_and_its_records_are_read_anew():
    run = Run(Walk(steps=2, rest_every=0, manual=True)).start()
    stored = Journal().run(run.id)
    run.command({"go": 2}).wait()
    assert (stored.status, stored.count, len(stored.records())) == ("starting", 0, 3)
    assert repr(Journal().run(run.id)) == f"<StoredRun {run.id} {run.name!r}: walk, finished, 2 of 2 done>"


def test_the_checkpoint_is_what_the_run_would_be_resumed_from():
    journal = Journal()
    walk = Walk(steps=12, rest_every=5)
    run = Run(walk, journal=journal).start().wait()
    other = Walk(steps=12, rest_every=5)
    other.load_state_dict(journal.checkpoint(run.id))
    assert other.step == 10
    list(other)
    assert other.result == walk.result
    ticking = Run(ticks(2), journal=journal).start().wait()
    assert journal.checkpoint(ticking.id) is None


def test_deleting_gives_the_space_back():
    journal = Journal()
    kept = Run(ticks(3), journal=journal).start().wait()
    empty = journal.size_bytes
    run = Run(pages(300), journal=journal).start().wait()
    full = journal.size_bytes
    files = [file for file in journal.path.parent.iterdir() if file.name.startswith("journal.db")]
    assert full == sum(file.stat().st_size for file in files) > 3_000_000
    journal.delete(run.id)
    assert [each.id for each in journal.runs()] == [kept.id]
    assert journal.size_bytes <= empty + 50_000
    assert len(kept.records()) == 3


def test_a_deleted_run_leaves_nothing():
    run = Run(Walk(steps=10)).start().wait()
    Journal().delete(run.id)
    tables = ("runs", "settings", "records", "checkpoints")
    assert [Journal().database.read(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 4


def aged(days):
    """A finished run as old as that."""
    run = Run(ticks(1)).start().wait()
    with Journal().database.transaction() as execute:
        execute("UPDATE runs SET created = ? WHERE id = ?", (time.time() - 86_400 * days, run.id))
    return run.id


def test_prune_by_number_by_age_and_by_both():
    ids = [aged(days) for days in (50, 40, 30, 20, 10, 0)]
    journal = Journal()
    assert journal.prune(keep=6) == journal.prune(older_than_days=60) == []
    assert journal.prune(keep=3, older_than_days=35) == [ids[1], ids[0]]
    assert journal.prune(keep=1, older_than_days=15) == [ids[3], ids[2]]
    assert journal.prune(keep=1) == [ids[4]]
    assert journal.prune(older_than_days=1) == []
    assert journal.prune(keep=0) == [ids[5]]
    with pytest.raises(ValueError, match=r"prune\(\) would delete every run"):
        journal.prune()
    with pytest.raises(ValueError, match="give numbers of 0 or more"):
        journal.prune(keep=-1)


def test_prune_leaves_what_is_being_driven():
    run = Run(Walk(manual=True)).start()
    old = aged(5)
    assert Journal().prune(keep=0) == [old]
    run.stop()
    assert Journal().prune(keep=0) == [run.id]


def test_a_closed_journal_says_so_and_another_on_the_file_goes_on():
    journal, other = Journal(), Journal()
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match=r"was closed. Open it again with Journal\("):
        journal.runs()
    assert other.runs() == [] and "(closed)" in repr(journal) and "(closed)" not in repr(other)


def test_closing_the_last_one_leaves_one_file(tmp_path):
    journal = Journal(tmp_path / "alone" / "j.db")
    run = Run(ticks(3), journal=journal).start().wait()
    id = run.id
    run.journal.close()
    assert [file.name for file in (tmp_path / "alone").iterdir()] == ["j.db"]
    assert Journal(tmp_path / "alone" / "j.db").run(id).count == 3


def test_a_file_removed_under_an_open_journal_is_begun_anew(tmp_path):
    journal = Journal(tmp_path / "j.db")
    Run(ticks(3), journal=journal).start().wait()
    for file in tmp_path.glob("j.db*"):
        file.unlink()
    again = Journal(tmp_path / "j.db")
    run = Run(ticks(2), journal=again).start().wait()
    assert (tmp_path / "j.db").exists() and [each.id for each in again.runs()] == [run.id]


def test_threads_may_share_a_journal():
    journal = Journal()
    runs = [Run(ticks(200), journal=journal) for _ in range(4)]
    read = []

    def look():
        while any(run.status in ("ready", "starting", "running") for run in runs):
            read.extend(journal.records(run.id, since=190) for run in runs)
            journal.note(runs[0].id, "seen") if runs[0].status != "ready" else None

    looking = threading.Thread(target=look)
    looking.start()
    for run in runs:
        run.start()
    for run in runs:
        run.wait()
    looking.join()
    assert [run.status for run in runs] == ["finished"] * 4
    for run in runs:
        assert [record["number"] for record in run.records()] == list(range(200))
    assert all(record["n"] > 190 for records in read for record in records)


def test_a_transaction_that_is_interrupted_leaves_nothing():
    journal = Journal()
    run = Run(ticks(1), name="before").start().wait()
    with pytest.raises(KeyboardInterrupt), journal.database.transaction() as execute:
        execute("UPDATE runs SET name = 'after'")
        raise KeyboardInterrupt
    assert journal.run(run.id).name == "before"
    assert Run(ticks(2)).start().wait().status == "finished"


def test_a_large_checkpoint_leaves_no_large_log(tmp_path):
    import torch

    class Heavy:
        kind, total = "heavy", 10

        def __iter__(self):
            @dataclass(frozen=True)
            class Kept(Tick):
                checkpoint = True

            for number in range(10):
                yield Kept(number)

        def state_dict(self):
            return {"weights": torch.zeros(1_500_000)}

    journal = Journal(tmp_path / "heavy.db")
    assert Run(Heavy(), journal=journal).start().wait().status == "finished"
    assert journal.size_bytes < 10 * 6_000_000 / 2
    journal.prune(keep=0)
    assert journal.size_bytes < 100_000


def test_a_journal_can_be_read_while_a_run_writes():
    run = Run(Walk(steps=400, rest_every=0)).start()
    since, seen = 0, []
    while run.status in ("starting", "running") or len(seen) < run.count:
        for record in run.records(since):
            seen.append(record["step"])
            since = record["n"]
    assert seen == list(range(1, 401))
    until(lambda: run.status == "finished", "finished")
    assert Path(run.journal.path).exists()
