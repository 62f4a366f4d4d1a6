"""doccano-client beside spaCy and pydantic 2: imported before or after, nothing is broken."""

import subprocess
import sys

import pytest

from scilab.literature import doccano_client
from scilab.literature.doccano_client import DoccanoError, client_module

FIRST = """
import spacy
spacy.blank("en").add_pipe("ner")
"""
# By its file: the package itself imports spaCy.
CLIENT = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("client_file", {doccano_client.__file__!r})
sys.modules["client_file"] = client_file = importlib.util.module_from_spec(spec)
before = "spacy" in sys.modules
spec.loader.exec_module(client_file)
server = client_file.ClientServer("http://127.0.0.1:9")
assert ("spacy" in sys.modules) is before
project = client_file.client_module("models.project").Project
assert [base.__module__ for base in project.__mro__ if base.__name__ == "BaseModel"] == ["pydantic.v1.main"]
"""
AFTER = """
import sys, pydantic, pydantic.types, spacy
from spacy.language import Language
from thinc.config import registry
assert pydantic.VERSION.startswith("2.") and pydantic.BaseModel.__module__ == "pydantic.main"
assert sys.modules["pydantic.types"] is pydantic.types and pydantic.types.__name__ == "pydantic.types"
import pydantic.fields, pydantic.v1.fields
assert pydantic.fields is not pydantic.v1.fields
class Model(pydantic.BaseModel):
    number: int
assert Model.model_validate({"number": "3"}).number == 3
nlp = spacy.blank("en")
nlp.add_pipe("ner", config={"update_with_oracle_cut_size": 100})
assert [token.text for token in nlp.make_doc("two words")] == ["two", "words"]
print("whole")
"""


@pytest.mark.parametrize("program", [FIRST + CLIENT + AFTER, CLIENT + AFTER], ids=["spaCy first", "client first"])
def test_both_orders_of_import(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["whole"], done.stderr


def test_a_missing_client_is_said_with_the_command(monkeypatch):
    def missing(name):
        raise doccano_client.PackageNotFoundError(name)

    monkeypatch.setattr(doccano_client, "version", missing)
    with pytest.raises(DoccanoError, match=r"not installed: pip install --no-deps doccano-client==1\.2\.8"):
        client_module("client")


def test_the_version_that_a_resolver_picks_is_refused_with_the_command(monkeypatch):
    monkeypatch.setattr(doccano_client, "version", lambda name: "1.1.1")
    with pytest.raises(DoccanoError, match=r"1\.1\.1 is installed.*pip install --no-deps doccano-client==1\.2\.8"):
        client_module("client")
