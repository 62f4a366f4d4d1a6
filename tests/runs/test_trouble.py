"""What goes wrong with disks and files, and what a person is told."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest
from kernels import attempt, kernel
from test_journal import pages
from test_run import ticks
from walk import Walk, bare, undisturbed

from scilab.runs import Journal, JournalError, Run


def mounted(folder):
    """Whether this user may mount; then `folder` is a disk of 1 MB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A journal on a disk that holds a megabyte: a real one where we may mount it, else a limit of SQLite's."""
    folder = tmp_path / "disk"
    folder.mkdir()
    real = mounted(folder)
    journal = Journal(folder / "journal.db")
    if not real:
        journal.database.read("PRAGMA max_page_count=200")

    def enlarge():
        if real:
            subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        else:
            journal.database.read("PRAGMA max_page_count=2000")

    yield journal, enlarge
    if real:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_fails_the_run_and_loses_nothing_it_reported(small_disk):
    journal, enlarge = small_disk
    told, run = [], Run(pages(500), journal=journal)
    run.subscribe(lambda run: told.append((run.status, run.count)))
    run.start().wait()
    assert run.status == "failed" and 10 < run.count < 150
    assert "is full or cannot be written (database or disk is full). Free a few megabytes there" in run.error
    assert "Or set the environment variable SCILAB_JOURNAL" in run.error
    assert [count for status, count in told if status == "running"] == list(range(1, run.count + 1))
    assert told[-1] == ("failed", run.count)
    assert len(run.records()) == run.count  # each record that was reported is there
    with pytest.raises(RuntimeError, match="failed: .*disk is full"):
        _ = run.result
    stored = journal.run(run.id)
    assert stored.status in ("failed", "interrupted") and stored.resumable  # as much as the full disk could be told
    enlarge()
    again = Run.resume(run.id, pages(20), journal).start().wait()
    assert (again.status, again.count) == ("finished", 20)
    assert journal.prune(keep=0) == [run.id] and journal.size_bytes < 100_000


def test_a_checkpoint_that_does_not_fit_takes_its_record_with_it(small_disk):
    class Growing(Walk):
        def state_dict(self):
            import torch

            return super().state_dict() | {"ballast": torch.zeros(0 if self.step < 20 else 1_000_000)}

    journal, enlarge = small_disk
    run = Run(Growing(steps=40), journal=journal).start().wait()
    assert run.status == "failed" and "disk is full" in run.error
    assert [record["kind"] for record in run.records()[-2:]] == ["Stepped", "Stepped"] and run.done == 20
    enlarge()
    again = Run.resume(run.id, Walk(steps=40), journal).start().wait()  # from the checkpoint at step 15
    assert (bare(again.records()), again.result) == undisturbed(steps=40)


def test_a_file_size_limit_reads_as_a_full_disk(tmp_path):
    script = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_journal import pages
from scilab.runs import Journal, Run
journal = Journal(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
run = Run(pages(500), journal=journal).start().wait()
print(run.status, 10 < run.count == len(run.records()), "is full or cannot be written (disk I/O error)" in run.error)
"""
    command = [sys.executable, "-c", script, os.path.dirname(__file__), str(tmp_path / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["failed", "True", "True"], done.stderr


def as_nobody(code, path):
    """What `code` prints as a user who may not write in `path`'s folder, whoever runs the tests."""
    script = f"""
import os, sys
from scilab.runs import Journal, JournalError
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
path = sys.argv[1]
try:
    {code}
    print("opened")
except JournalError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.stdout


@contextlib.contextmanager
def readable_only(folder):
    """`folder` and what it holds, closed to writing; the way to it open to everyone."""
    above = [
        parent for parent in folder.parents if parent.stat().st_uid == os.getuid() and parent.stat().st_mode & 0o5 == 0
    ]
    for parent in above:
        parent.chmod(parent.stat().st_mode | 0o5)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    yield
    folder.chmod(0o755)


def test_a_read_only_folder_says_what_to_do(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    with readable_only(folder):
        assert "journal.db cannot be opened for writing" in as_nobody("Journal(path)", folder / "journal.db")
        said = as_nobody("Journal(path)", folder / "deeper" / "journal.db")
        assert "the folder of" in said and "cannot be made" in said
    journal = Journal(folder / "journal.db")
    Run(ticks(3), journal=journal).start().wait()
    journal.close()
    del journal
    with readable_only(folder):
        said = as_nobody("Journal(path)", folder / "journal.db")
    assert "cannot be opened for writing" in said
    assert "Make its folder writable, or set the environment variable SCILAB_JOURNAL" in said


def test_a_folder_is_no_journal(tmp_path):
    with pytest.raises(JournalError, match=r"is a folder\. Give the path of a file in it, such as .*journal\.db"):
        Journal(tmp_path)


def test_a_file_on_the_way_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match=r"the folder of .* cannot be made .*SCILAB_JOURNAL"):
        Journal(tmp_path / "file" / "journal.db")


def test_another_file_is_not_touched(tmp_path):
    text = tmp_path / "thesis.txt"
    text.write_text("All of my work. " * 100)
    with pytest.raises(JournalError, match=r"thesis\.txt is not a journal, nor any SQLite file\. Give another path"):
        Journal(text)
    assert text.read_text() == "All of my work. " * 100


def test_another_database_is_not_touched(tmp_path):
    path = tmp_path / "photos.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"photos\.db is a database of some other program, not a journal"):
        Journal(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["photos.db"]


def test_a_newer_journal_is_left_to_a_newer_scilab(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.database.read("PRAGMA user_version=7")
    journal.close()
    with pytest.raises(JournalError, match=r"written by a newer scilab \(schema 7, this one knows 1\)\. Update scilab"):
        Journal(path)


def test_a_damaged_journal_says_so(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path)
    run = Run(pages(50), journal=journal).start().wait()
    id = run.id
    journal.close()
    del run, journal
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\x99" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"is damaged .*Move it and its -wal file away"):
        Journal(path).run(id)


def test_on_a_network_disk_one_kernel_holds_the_journal_and_another_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("scilab.storage.database.on_network", lambda folder: True)
    path = tmp_path / "journal.db"
    journal = Journal(path)
    assert journal.database.read("PRAGMA journal_mode") == [("truncate",)]
    assert journal.database.read("PRAGMA locking_mode") == [("exclusive",)]
    run = Run(Walk(steps=10), journal=journal).start().wait()
    assert (bare(run.records()), run.result) == undisturbed(steps=10)
    assert not list(tmp_path.glob("*-wal")) and not list(tmp_path.glob("*-shm"))
    with kernel(_on_network, path) as (_, pipe):
        said = pipe.recv()
        assert "is held by another kernel (database is locked). Shut that kernel down, or set the environment" in said
    journal.close()
    id = run.id
    del run
    with kernel(attempt, path, id, "delete") as (_, pipe):
        assert pipe.recv() == "done"


def _on_network(pipe, path):
    import scilab.storage.database

    scilab.storage.database.on_network = lambda folder: True
    attempt(pipe, path, None, "open")


def test_a_local_journal_uses_the_write_ahead_log():
    assert Journal().database.read("PRAGMA journal_mode") == [("wal",)]
    assert Journal().database.read("PRAGMA synchronous") == [(1,)]
