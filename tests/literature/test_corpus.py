import json
import random
import tracemalloc

import pytest

from scilab.literature import Corpus, Paper, Paragraph, Problem, corpus
from scilab.literature.seen import Seen


def test_texts_are_papers_of_one_paragraph_and_copies_are_dropped():
    texts = Corpus.texts(["one", "two", "one", "  \n", "three\ud800"])
    assert [paper.paragraphs for paper in texts] == [
        (Paragraph("one", "", 0),), (Paragraph("two", "", 0),), (), (), (Paragraph("three\ufffd", "", 0),),
    ]  # fmt: skip
    assert texts.dropped == {"papers": 0, "paragraphs": 1}
    assert [paper.paper_id for paper in texts] == [f"text-{n}" for n in range(5)]  # again, from the start


def test_a_paper_known_by_any_of_its_keys_is_dropped():
    class Source:
        def papers(self, problems):
            known = ("a", "doi 1"), ("b", "doi 2", "sha x"), ("c", "sha x", "doi 3"), ("d", "doi 3"), ("a",)
            for name, *keys in known:
                yield Paper(name, "", "", (Paragraph(f"text of {name}", "", 0),), tuple(keys))

    papers = Corpus(Source())
    # d is known by a key of c, itself a copy of b; the second a by its id
    assert [paper.paper_id for paper in papers] == ["a", "b"] and papers.dropped["papers"] == 3


def test_paragraphs_keep_their_numbers_where_copies_and_empty_ones_are_dropped(tmp_path):
    (tmp_path / "a.txt").write_text("Title A\n\nFirst.\n\n \nSecond\nline.\n\n\nThird.")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_bytes("\ufeffTitle B\r\n\r\nThird.\r\n\r\nFourth é.".encode())
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    papers = Corpus.folder(tmp_path)
    a, b = papers
    assert (a.paper_id, a.title) == ("a.txt", "Title A") and (b.paper_id, b.title) == ("deep/b.txt", "Title B")
    assert [(each.index, each.text) for each in a.paragraphs] == [
        (0, "Title A"), (1, "First."), (2, "Second\nline."), (3, "Third."),
    ]  # fmt: skip
    assert [(each.index, each.text) for each in b.paragraphs] == [(0, "Title B"), (2, "Fourth é.")]
    (problem,) = papers.problems
    assert problem.where == str(tmp_path / "c.txt") and "cannot be read as UTF-8 text" in problem.reason
    assert [task.meta for task in papers.tasks()][1] == {
        "paper": "a.txt", "title": "Title A", "published": "", "section": "", "index": 1,
    }  # fmt: skip


def test_jsonl_lists_what_is_no_json_with_its_line(tmp_path):
    file = tmp_path / "papers.jsonl"
    last = '{"text": "two\u2028", "published": "2020"}'
    lines = ['{"text": "one", "pmid": 7}', "{broken", "", '{"body": "x"}', "[1]", last]
    file.write_text("\n".join(lines), encoding="utf-8")
    papers = Corpus.jsonl(file, id="pmid")
    assert [(paper.paper_id, paper.published, paper.paragraphs[0].text) for paper in papers] == [
        ("7", "", "one"), ("papers.jsonl:6", "2020", "two\u2028"),
    ]  # fmt: skip
    assert [problem.where for problem in papers.problems] == [f"{file}, line {number}" for number in (2, 4, 5)]
    assert papers.problems[0].reason.startswith("no JSON, Expecting property name")
    assert papers.problems[1].reason == "holds no text under 'text'; it has body"


def test_csv_takes_the_named_columns(tmp_path):
    file = tmp_path / "papers.csv"
    file.write_text('pmid,abstract,title\n1,"a ""quoted"", long\ntext",First\n2,,Second\n3,b,Third\n', encoding="utf-8")
    papers = Corpus.csv(file, text="abstract", id="pmid")
    assert [(paper.paper_id, paper.title, paper.paragraphs[0].text) for paper in papers] == [
        ("1", "First", 'a "quoted", long\ntext'), ("3", "Third", "b"),
    ]  # fmt: skip
    reason = "holds no text under 'abstract'; it has pmid, abstract, title"
    assert papers.problems == [Problem(f"{file}, line 4", reason)]
    with pytest.raises(ValueError, match=r"papers\.csv has no column 'text'; its header names pmid, abstract, title"):
        Corpus.csv(file)


@pytest.mark.parametrize("make", [Corpus.folder, Corpus.jsonl, Corpus.csv, Corpus.cord19])
def test_a_path_with_nothing_there_is_told(make, tmp_path):
    with pytest.raises(ValueError, match="there is no"):
        make(tmp_path / "nothing")


def test_a_folder_without_such_files_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"holds no file that matches '\*\*/\*\.txt'; give another folder"):
        Corpus.folder(tmp_path)


def test_a_long_paragraph_is_cut_between_words_and_nothing_of_it_is_lost():
    words = " ".join(str(number) for number in range(60_000))
    (paper,) = Corpus.texts([words])
    pieces = [each.text for each in paper.paragraphs]
    assert "".join(pieces) == words and len(pieces) == -(-len(words) // corpus.LONGEST)
    assert all(len(piece) <= corpus.LONGEST for piece in pieces) and all(piece.endswith(" ") for piece in pieces[:-1])
    assert [each.index for each in paper.paragraphs] == list(range(len(pieces)))
    (paper,) = Corpus.texts([words.replace(" ", "")[:250_000]])  # without a word to cut after
    assert [len(each.text) for each in paper.paragraphs] == [100_000, 100_000, 50_000]


def test_settings_make_it_again_and_the_digest_tells_a_change(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    papers = Corpus.folder(tmp_path)
    again = Corpus.from_settings(json.loads(json.dumps(papers.settings)))
    assert list(again) == list(papers) and again.digest == papers.digest
    before = papers.digest
    (tmp_path / "a.txt").write_text("longer")
    assert papers.digest != before
    assert Corpus.texts(["a", "b"]).digest == Corpus.texts(["a", "b"]).digest != Corpus.texts(["ab"]).digest
    with pytest.raises(ValueError, match="a corpus cannot be made of 'texts' settings: build it as it was"):
        Corpus.from_settings(Corpus.texts(["a"]).settings)


def test_a_large_corpus_takes_as_much_memory_as_a_small_one(tmp_path):
    file = tmp_path / "papers.jsonl"
    with open(file, "w") as lines:
        for number in range(8_000):
            lines.write(json.dumps({"text": f"paper {number} " + "with some words " * 20}) + "\n")
    papers = Corpus.jsonl(file)
    walk = iter(papers)
    for _ in range(100):
        next(walk)
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk) == 7_900
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two hashes a paper in tables of at most 16 bytes an entry, which are doubled: peak 1.5 times the end.
    assert grown < 2 * 8_000 * 32 + 200_000 and peak < 2 * 8_000 * 48 + 200_000


def test_seen_is_a_set():
    seen, kept, draw = Seen(), set(), random.Random(0)
    for _ in range(20_000):
        text = f"text {draw.randrange(12_000)}"
        assert seen.add(text) == (text not in kept)
        kept.add(text)
    assert len(seen) == len(kept)
