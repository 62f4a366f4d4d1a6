import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scilab.literature import Span, Task, prodigy_file

EMOJI = "Give 😀😀 aspirin to the 𝓟atient, né‌e\u0301: 5 mg\r\nthen lopinavir\u2028daily"


def murmur3(data, seed=0):
    """MurmurHash3 x86, 32 bits (A. Appleby), signed: the published algorithm, written out."""
    h, rotate = seed, lambda x, r: ((x << r) | (x >> (32 - r))) & 0xFFFFFFFF
    mix = lambda k: rotate(k * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF  # noqa: E731
    for i in range(0, len(data) // 4 * 4, 4):
        h = (rotate(h ^ mix(int.from_bytes(data[i : i + 4], "little")), 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    if len(data) % 4:
        h ^= mix(int.from_bytes(data[len(data) // 4 * 4 :], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    h ^= h >> 16
    return h - (h >> 31 << 32)


# Rows of Prodigy's published example data (explosion/prodigy-recipes, news headlines; MIT licence).
@pytest.mark.parametrize(
    "text, hashed",
    [
        ("Netromancy", 208310363),
        ("How Uber Got Lost", 2032455885),
        ("In Silicon Valley", -1652766042),
        ("What It Means to Be a ‘Dad’", -1754455291),
        ("The PayPal Mafia’s Golden Touch", 411750590),
    ],
)
def test_the_input_hash_is_prodigys(text, hashed):
    assert Task(text).input_hash == hashed


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_the_input_hash_is_murmur_of_the_escaped_text(text):
    assert Task(text).input_hash == murmur3(b"text=" + json.dumps(text).encode("ascii"))


def test_the_task_hash_tells_spans_apart_and_nothing_else():
    plain, marked = Task("Take aspirin"), Task("Take aspirin", (Span(5, 12, "DRUG"),))
    assert len({plain.task_hash, marked.task_hash, Task("Take aspirin", (Span(5, 12, "DOSE"),)).task_hash}) == 3
    assert Task("Take aspirin", (Span(5, 12, "DRUG"),), {"a": 1}, "reject").task_hash == marked.task_hash
    assert marked.task_hash == murmur3(json.dumps([marked.input_hash, [[5, 12, "DRUG"]]]).encode())


def test_a_row_has_inclusive_token_ends_and_exclusive_ends():
    task = Task("Take lopinavir ritonavir.", (Span(5, 24, "DRUG"), Span(6, 9, "ODD")), {"source": "x"}, "accept")
    row = task.to_prodigy(tokens=[(0, 4), (5, 14), (15, 24), (24, 25)])
    assert row["tokens"][1] == {"text": "lopinavir", "start": 5, "end": 14, "id": 1, "ws": True}
    assert row["tokens"][2]["ws"] is False
    whole, odd = row["spans"]
    assert (whole["token_start"], whole["token_end"], whole["end"]) == (1, 2, 24)
    assert "token_start" not in odd  # no token ends there, and a wrong one would be worse than none
    assert row["answer"] == "accept" and row["meta"] == {"source": "x"} and row["_input_hash"] == task.input_hash
    assert Task.from_prodigy(row) == task


def test_offsets_with_emoji_combining_marks_line_ends_and_u2028_stand_in_the_file(tmp_path):
    spans = tuple(Span(EMOJI.index(name), EMOJI.index(name) + len(name), "DRUG") for name in ("aspirin", "lopinavir"))
    assert spans[0] == Span(8, 15, "DRUG")  # code points; UTF-16 would say 10
    file = tmp_path / "tasks.jsonl"
    assert prodigy_file.write(file, [Task(EMOJI, spans), Task("No drug.")]) == 2
    content = file.read_bytes()
    assert content.isascii() and content.count(b"\n") == 2
    first, second = prodigy_file.read(file)
    assert first == Task(EMOJI, spans) and second == Task("No drug.")
    assert [first.text[span.start : span.end] for span in first.spans] == ["aspirin", "lopinavir"]


def test_a_raw_u2028_in_another_programs_file_ends_no_line(tmp_path):
    file = tmp_path / "raw.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"text": "one\u2028two\x85"}, ensure_ascii=False).encode() + b"\n\n")
    assert [task.text for task in prodigy_file.read(file)] == ["one\u2028two\x85"]


def test_a_row_of_ner_teach_is_binary_and_keeps_its_keys():
    row = {"text": "a b", "spans": [{"start": 0, "end": 1, "label": "X", "score": 0.4}], "answer": "reject"}
    old = Task.from_prodigy(row)
    new = Task.from_prodigy({"text": "a b", "_view_id": "ner", "_session_id": "s-ann", "answer": "accept"})
    manual = Task.from_prodigy({"text": "a b", "_view_id": "ner_manual", "answer": "accept"})
    assert old.binary and new.binary and not manual.binary
    assert new.to_prodigy()["_session_id"] == "s-ann" and new.extra["_view_id"] == "ner"


@pytest.mark.parametrize(
    "row, told",
    [
        ({"html": "x"}, 'an object with a "text"'),
        ({"text": "Take aspirin", "spans": [{"start": 5, "end": 99, "label": "D"}]}, "span 5-99 'D' lies outside"),
        (
            {"text": "😀 aspirin", "spans": [{"start": 3, "end": 9, "label": "D", "text": "aspirin"}]},
            "says its text is 'aspirin', but there stands 'spirin'",
        ),
        (
            {
                "text": "a b",
                "tokens": [{"start": 0, "end": 1}, {"start": 2, "end": 3}],
                "spans": [{"start": 0, "end": 1, "label": "D", "token_start": 0, "token_end": 1}],
            },
            "names tokens 0-1, which stand at (0, 3)",
        ),
        ({"text": "a", "spans": [{"start": 0, "label": "D"}]}, "a span has start, end and label"),
        ({"text": "a", "answer": "yes"}, "an answer is one of accept, reject, ignore"),
        ({"text": "a \ud83d b"}, "character 2 of .* half of a UTF-16 pair"),
    ],
)
def test_a_wrong_row_is_told(row, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        Task.from_prodigy(row)


@pytest.mark.parametrize(
    "line, told",
    [
        (b'{"text": "a" "spans": []}\n', r"line 3: no JSON, Expecting ',' delimiter at character 14 of"),
        (b'{"text": "a", "spa', r"line 3: no JSON, .*was it cut off\?"),
        (b'{"text": "\xe9"}\n', "line 3: byte 11 is no UTF-8"),
        (b"[1]\n", 'line 3: a Prodigy task is an object with a "text"'),
    ],
)
def test_a_line_that_is_no_json_or_no_task_is_told_with_its_number(tmp_path, line, told):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"text": "fine"}\n\n' + line)
    with pytest.raises(ValueError, match=r"bad\.jsonl, " + told):
        prodigy_file.read(file)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    file = tmp_path / "tasks.jsonl"
    prodigy_file.write(file, [Task("old")])

    def broken():
        yield Task("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        prodigy_file.write(file, broken())
    assert [task.text for task in prodigy_file.read(file)] == ["old"] and list(tmp_path.iterdir()) == [file]
