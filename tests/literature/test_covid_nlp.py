import hashlib
import http.server
import threading

import pytest

from scilab.datasets import DownloadError
from scilab.literature import Span, covid_nlp, labelled_sentences, screened_molecules

LINES = (
    "['Give', 'aspirin', 'or', '\"', 'mefenamic', 'acid', '\"']|['O', 'B', 'O', 'O', 'B', 'I', 'O']\n"
    "\"[\"\"patient's\"\", 'lopinavir', 'ritonavir']\"|['O', 'B', 'B']\n"
    "['Give', 'aspirin', 'or', '\"', 'mefenamic', 'acid', '\"']|['O', 'B', 'O', 'O', 'B', 'I', 'O']\n"
    "['a|b', 'x']|['I', 'I']\n"
).replace("['a|b', 'x']", "\"['a|b', 'x']\"")
MOLECULES = (
    "\ufeffmolecule,identifier,virus,reference,type,pubchem_smiles,canonical_smiles,pubchem_id,release\n"
    'Aspirin,LIT-1,SARS-CoV-2,10.1/x,experimental,C,CC(=O)Oc1ccccc1C(=O)O,2244,0.2\n'
    '"A, b",LIT-2,MERS,,docked,,CCO,702,0.2\n'
)


def test_tokens_are_joined_by_a_space_and_tags_become_spans(tmp_path):
    file = tmp_path / "train_val.csv"
    file.write_text(LINES, encoding="utf-8")
    first, second, third = labelled_sentences(path=file)  # the copy is dropped
    assert first.text == 'Give aspirin or " mefenamic acid "'
    assert first.spans == (Span(5, 12, "DRUG"), Span(18, 32, "DRUG"))
    assert [second.text[span.start : span.end] for span in second.spans] == ["lopinavir", "ritonavir"]
    assert third.text == "a|b x" and third.spans == (Span(0, 5, "DRUG"),)
    assert (first.answer, first.meta) == ("accept", {"source": "covid-nlp train_val", "line": 1})


@pytest.mark.parametrize("line", ["['a', 'b']|['O']", "['a']|['X']", "no list|['O']", "['a']", "7|8"])
def test_a_line_of_another_kind_is_told(tmp_path, line):
    file = tmp_path / "train_val.csv"
    file.write_text("['a']|['O']\n" + line + "\n")
    with pytest.raises(ValueError, match="line 2 of the labelled set is not two Python lists"):
        labelled_sentences(path=file)
    with pytest.raises(ValueError, match="has the parts 'train_val' and 'test', got 'dev'"):
        labelled_sentences("dev")
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        labelled_sentences(path=tmp_path / "gone.csv")


def test_the_molecules_that_were_screened_before(tmp_path):
    file = tmp_path / "LIT.csv"
    file.write_text(MOLECULES, encoding="utf-8")
    aspirin, other = screened_molecules(file)
    assert (aspirin.name, aspirin.identifier, aspirin.smiles) == ("Aspirin", "LIT-1", "CC(=O)Oc1ccccc1C(=O)O")
    assert (aspirin.pubchem_id, aspirin.virus, aspirin.reference) == ("2244", "SARS-CoV-2", "10.1/x")
    assert other.name == "A, b"
    file.write_text("name,smiles\n")
    with pytest.raises(ValueError, match="not the LIT list: its header has no molecule, .*only name, smiles"):
        screened_molecules(file)


def test_it_is_downloaded_once_checked_and_kept_with_its_notice(tmp_path, monkeypatch):
    place, data = "LIT/LIT.csv", MOLECULES.encode()
    (tmp_path / "www" / "LIT").mkdir(parents=True)
    (tmp_path / "www" / place).write_bytes(data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args):
            asked.append(self.path)

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("SCILAB_DATA", str(tmp_path / "data"))
        monkeypatch.setattr(covid_nlp, "URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setitem(covid_nlp.FILES, "LIT", (place, "0" * 64))
        with pytest.raises(DownloadError, match=r"served a file whose SHA-256 is .*put the file with SHA-256 0000"):
            screened_molecules()
        assert not (tmp_path / "data" / "covid-nlp" / "LIT.csv").exists()
        asked.clear()
        monkeypatch.setitem(covid_nlp.FILES, "LIT", (place, hashlib.sha256(data).hexdigest()))
        assert len(screened_molecules()) == len(screened_molecules()) == 2 and asked == ["/LIT/LIT.csv"]
        notice = (tmp_path / "data" / "covid-nlp" / "NOTICE.md").read_text(encoding="utf-8")
        assert "provided that this Notice" in " ".join(notice.split()) and "Argonne, LLC" in notice
    finally:
        server.shutdown()
        server.server_close()
