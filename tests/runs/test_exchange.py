"""One run as one file: there and back, and nothing that a stranger put in it."""

import contextlib
import io
import re
import sqlite3
import zipfile

import pytest
import torch
from test_run import ticks, until
from walk import Walk, bare, undisturbed

from scilab.runs import Journal, JournalError, Run


@pytest.fixture
def elsewhere(tmp_path):
    """The journal of another machine."""
    return Journal(tmp_path / "elsewhere.db")


@pytest.fixture
def half(tmp_path):
    """A run stopped half-way, and its exported file."""
    run = Run(Walk(steps=10, rest_every=4, manual=True), name="half", notes="of it").start().command({"go": 6})
    until(lambda: run.done == 6, "six steps")
    run.stop()
    return run, run.journal.export(run.id, tmp_path / "half.scilab-run")


def test_a_run_goes_there_and_is_what_it_was(half, elsewhere):
    run, path = half
    given = elsewhere.import_(path)
    for field in (
        "id",
        "name",
        "notes",
        "kind",
        "settings",
        "created",
        "status",
        "error",
        "count",
        "done",
        "total",
        "progress",
    ):
        assert getattr(given, field) == getattr(Journal().run(run.id), field), field
    assert given.records() == run.records()
    assert (given.recorded, given.resumable) == (False, True)
    assert elsewhere.runs() == [given]


def test_it_can_be_resumed_there_with_the_same_bits(half, elsewhere):
    run, path = half
    elsewhere.import_(path)
    again = Run.resume(run.id, Walk(steps=10, rest_every=4), elsewhere).start().wait()
    records = [record for record in bare(again.records()) if record["kind"] != "Command"]
    assert (records, again.result) == undisturbed(steps=10, rest_every=4)
    assert Journal().run(run.id).status == "stopped"


def test_an_export_holds_one_run_without_what_was_superseded(half, elsewhere, tmp_path):
    run, _ = half
    Run(ticks(5)).start().wait()
    finished = Run.resume(run.id, Walk(steps=10, rest_every=4)).start().wait()
    path = Journal().export(run.id, str(tmp_path / "all.scilab-run"))
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*), sum(superseded) FROM records").fetchone() == (finished.count, 0)
        assert file.execute("SELECT count(*), max(host), max(pid), max(claim) FROM runs").fetchone() == (1, "", 0, "")
    assert elsewhere.import_(path).records() == finished.records()
    assert [file.name for file in tmp_path.glob("*.tmp")] == []


def test_a_run_under_way_is_exported_as_interrupted(elsewhere, tmp_path):
    run = Run(Walk(manual=True)).start().command({"go": 2})
    until(lambda: run.done == 2, "two steps")
    path = run.journal.export(run.id, tmp_path / "now.scilab-run")
    run.stop()
    assert (elsewhere.import_(path).status, elsewhere.run(run.id).done) == ("interrupted", 2)


def test_a_recording_is_marked_never_resumed_and_never_pruned(half, elsewhere):
    run, path = half
    given = elsewhere.import_(path, recorded=True)
    assert (given.recorded, given.resumable) == (True, False)
    assert repr(given) == f"<StoredRun {run.id} 'half': walk, recorded, 6 of 10 done>"
    with pytest.raises(JournalError, match=f"run {run.id} is a recording, made elsewhere. Launch a run of your own"):
        Run.resume(run.id, Walk(), elsewhere)
    assert elsewhere.prune(keep=0) == []
    assert elsewhere.import_(path, recorded=True).id == run.id and len(elsewhere.runs()) == 1
    again = elsewhere.export(run.id, path.with_name("again.scilab-run"))
    elsewhere.delete(run.id)
    assert elsewhere.import_(again).recorded


def test_what_is_here_already_is_not_doubled_and_what_went_on_is_kept(half):
    run, path = half
    assert Journal().import_(path).id == run.id and len(Journal().runs()) == 1
    Run.resume(run.id, Walk(steps=10, rest_every=4)).start().wait()
    other = Journal().import_(path)
    assert other.id != run.id and (other.done, Journal().run(run.id).done) == (6, 10)
    assert Journal().import_(path).id not in (run.id,)


def test_exports_are_named_as_such_and_replaced_whole(half, tmp_path):
    run, path = half
    with pytest.raises(ValueError, match=r"model\.pt is no name for an exported run: end it in \.scilab-run"):
        run.journal.export(run.id, tmp_path / "model.pt")
    before = path.read_bytes()
    assert run.journal.export(run.id, path).read_bytes() == before
    with pytest.raises(JournalError, match="cannot be written to .*Is its folder there and writable"):
        run.journal.export(run.id, tmp_path / "nowhere" / "half.scilab-run")


def test_importing_changes_neither_the_file_nor_its_folder(half, elsewhere):
    _, path = half
    before = path.read_bytes(), sorted(path.parent.iterdir())
    elsewhere.import_(path)
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


# SQLite itself refuses wrong types in our tables: take the word STRICT out of the schema, and put it back.
LOOSEN = [
    "UPDATE sqlite_master SET sql = replace(replace(sql, ' STRICT,', ' '), ' STRICT', ' ') || '/*' || sql || '*/' "
    "WHERE type = 'table'",
    "PRAGMA writable_schema=RESET",
]
TIGHTEN = [
    "PRAGMA writable_schema=1",
    "UPDATE sqlite_master SET sql = trim(substr(sql, instr(sql, '/*')), '/*') WHERE type = 'table'",
]
TABLES = "it holds other tables than a journal"
HOSTILE = {
    "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END": TABLES,
    "CREATE VIEW v AS SELECT load_extension('evil')": TABLES,
    "CREATE TABLE extra (x)": TABLES,
    "CREATE INDEX i ON runs (length(name))": TABLES,
    "CREATE VIRTUAL TABLE f USING fts5(x)": TABLES,
    (
        "CREATE TABLE r2 AS SELECT * FROM records",
        "DROP TABLE records",
        "CREATE VIEW records AS SELECT * FROM r2",
    ): TABLES,
    (
        "CREATE TABLE s2 (run INTEGER PRIMARY KEY, body)",
        "DROP TABLE settings",
        "ALTER TABLE s2 RENAME TO settings",
    ): TABLES,
    "UPDATE runs SET id = '../../etc/passwd'": "CHECK constraint failed: length(id)",
    "UPDATE runs SET status = 'owned'": "CHECK constraint failed: status IN",
    "UPDATE runs SET done = 7000": "CHECK constraint failed: done BETWEEN 0 AND count",
    "UPDATE records SET t = 9e999": "CHECK constraint failed: t BETWEEN 0 AND 1e12",
    (*LOOSEN, "UPDATE runs SET last = 'many'", *TIGHTEN): "non-INTEGER value in runs.last",
    (*LOOSEN, "UPDATE records SET t = 'yesterday'", *TIGHTEN): "non-REAL value in records.t",
    (*LOOSEN, "UPDATE records SET body = CAST(body AS BLOB)", *TIGHTEN): "non-TEXT value in records.body",
    "DELETE FROM runs": "it holds 0 runs, not one",
    "INSERT INTO runs (id, name, notes, kind, created, status) SELECT 'two2', '', '', '', 0, 'failed'": "holds 2 runs",
    "DELETE FROM settings": "it holds no settings",
    "UPDATE settings SET body = '[1]'": "its settings are no JSON object",
    "UPDATE settings SET body = '{'": "Expecting property name",
    "UPDATE records SET body = 'import os' WHERE n = 3": "Expecting value",
    "UPDATE records SET body = '[]' WHERE n = 3": "record 3 is no JSON object with a kind",
    """UPDATE records SET body = '{"kind": 3}' WHERE n = 3""": "record 3 is no JSON object with a kind",
    """UPDATE records SET body = '{"kind": "a", "x": NaN}' WHERE n = 3""": "it holds the number NaN",
    """UPDATE records SET body = '{"kind": "a", "x": 1e999}' WHERE n = 3""": "it holds the number 1e999",
    f"UPDATE records SET body = '{'[' * 100_000}' WHERE n = 3": "maximum recursion depth",
    "UPDATE records SET body = CAST(x'80ff' AS TEXT) WHERE n = 3": "Could not decode to UTF-8",
}


@pytest.mark.parametrize(("statements", "reason"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_a_hostile_file_is_refused_and_nothing_of_it_stays(half, elsewhere, statements, reason):
    _, path = half
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA ignore_check_constraints=1")
        file.execute("PRAGMA writable_schema=1")
        for statement in [statements] if isinstance(statements, str) else statements:
            file.execute(statement)
    with pytest.raises(JournalError, match=f"is not an exported run, or not a sound one: .*{re.escape(reason)}"):
        elsewhere.import_(path)
    assert elsewhere.runs() == []
    tables = ("settings", "records", "checkpoints")
    assert [elsewhere.database.read(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 3


def test_counters_are_counted_and_not_believed(half, elsewhere):
    run, path = half
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE runs SET last = 1000, count = 900, name = ''")
        file.execute("UPDATE runs SET last = 2, count = 2, done = 1")
    given = elsewhere.import_(path)
    assert (given.count, len(given.records())) == (8, 8)
    again = Run.resume(run.id, Walk(steps=10, rest_every=4), elsewhere).start().wait()
    assert again.status == "finished", again.error


def test_a_record_cannot_hide_its_number(half, elsewhere):
    _, path = half
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("""UPDATE records SET body = '{"kind": "Stepped", "n": -1, "t": "never"}' WHERE n = 3""")
    record = elsewhere.import_(path).records(since=2)[0]
    assert record["n"] == 3 and isinstance(record["t"], float)


class Malice:
    def __reduce__(self):
        return print, ("malice ran",)


def test_a_checkpoint_that_runs_code_does_not(half, elsewhere, capsys):
    run, path = half
    state = io.BytesIO()
    torch.save({"step": Malice()}, state)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE checkpoints SET state = ?", (state.getvalue(),))
    elsewhere.import_(path)
    with pytest.raises(ValueError, match="damaged or not safe to read"):
        Run.resume(run.id, Walk(steps=10, rest_every=4), elsewhere).start()
    assert "malice" not in capsys.readouterr().out
    assert elsewhere.run(run.id).status == "stopped"


def test_other_files_are_refused(elsewhere, half, tmp_path):
    _, path = half
    text, empty, damaged, archive = (
        tmp_path / f"{name}.scilab-run" for name in ("text", "empty", "damaged", "archive")
    )
    text.write_text("no database " * 1000)
    empty.write_bytes(b"")
    content = bytearray(path.read_bytes())
    content[4096 * 3 + 100 :] = b"\xab" * (len(content) - 4096 * 3 - 100)
    damaged.write_bytes(content)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x", "y")
    for wrong in (text, empty, damaged, archive):
        with pytest.raises(JournalError, match="is not an exported run, or not a sound one"):
            elsewhere.import_(wrong)
    cut = tmp_path / "cut.scilab-run"
    cut.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(JournalError, match="is not an exported run, or not a sound one"):
        elsewhere.import_(cut)
    for missing in (tmp_path / "missing.scilab-run", tmp_path):
        with pytest.raises(JournalError, match="there is no file"):
            elsewhere.import_(missing)
    assert elsewhere.runs() == []


def test_a_file_too_large_is_refused_before_it_is_read(elsewhere, half, monkeypatch):
    monkeypatch.setattr("scilab.runs.exchange.LARGEST_BYTES", 1000)
    with pytest.raises(JournalError, match="more than an exported run may be"):
        elsewhere.import_(half[1])


def test_a_file_of_a_newer_scilab_says_so(elsewhere, half):
    _, path = half
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("ALTER TABLE runs ADD COLUMN mood TEXT")
        file.execute("PRAGMA user_version=2")
    with pytest.raises(JournalError, match=r"\(schema 2: a newer scilab may read it\)"):
        elsewhere.import_(path)


def test_a_whole_journal_is_no_export(elsewhere, half, tmp_path):
    Run(ticks(1)).start().wait()
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.scilab-run")) as copy:
        copy.execute("ATTACH ? AS journal", (str(Journal().path),))
        copy.execute("VACUUM journal INTO ?", (str(tmp_path / "whole.scilab-run"),))
    with pytest.raises(JournalError, match="it holds 2 runs, not one"):
        elsewhere.import_(tmp_path / "whole.scilab-run")
