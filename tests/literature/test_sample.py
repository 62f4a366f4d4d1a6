import re

from scilab.literature import Corpus, overlapping, sample_tasks
from scilab.literature.sample import _FILE
from scilab.literature.split import held_out

NAME = re.compile(r"[A-Za-z]")


def test_every_span_is_a_whole_name_and_says_its_text():
    assert _FILE.read_bytes().isascii()
    tasks = sample_tasks()
    assert len(tasks) == 104 and sum(len(task.spans) for task in tasks) == 124
    for task in tasks:
        assert not overlapping(task.spans) and task.answer == "accept"
        for span in task.spans:
            name = task.text[span.start : span.end]
            before, after = task.text[: span.start][-1:], task.text[span.end :][:1]
            assert name == name.strip() and span.label == "DRUG"
            assert not (before.isalnum() or after.isalnum()), (before, name, after)


def test_a_name_that_is_labelled_once_is_labelled_wherever_it_stands():
    names = {task.text[span.start : span.end].lower() for task in sample_tasks() for span in task.spans}
    assert len(names) > 85
    for task in sample_tasks():
        for name in names:
            for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", task.text.lower()):
                assert any(s.start <= found.start() and found.end() <= s.end for s in task.spans), (name, task.text)


def test_it_is_hard_where_real_text_is():
    texts = [task.text for task in sample_tasks()]
    marked = [(task.text, task.text[span.start : span.end], span) for task in sample_tasks() for span in task.spans]
    assert sum(not task.spans for task in sample_tasks()) == 65  # most paragraphs of a paper name no drug
    assert sum(any(letter > "\uffff" for letter in text) for text in texts) >= 5
    assert any(any(letter > "\uffff" for letter in text[: span.start]) for text, _, span in marked)
    assert {"ciproﬂoxacin", "β-D-N4-hydroxycytidine", "α-Mangostin"} <= {name for _, name, _ in marked} | {
        name.lower() for _, name, _ in marked
    }
    joined = "\n".join(texts)
    assert all(sign in joined for sign in "−–‐•µÅ\u0308") and any("\u0308" in text[: s.start] for text, _, s in marked)


def test_it_is_a_corpus_of_papers_with_dates_and_sections():
    corpus = Corpus.sample()
    papers = list(corpus)
    assert len(papers) == 25 and corpus.problems == [] and corpus.dropped == {"papers": 0, "paragraphs": 0}
    assert [task.text for task in corpus.tasks()] == [task.text for task in sample_tasks()]
    assert [task.meta for task in corpus.tasks()] == [task.meta for task in sample_tasks()]
    for paper in papers:
        assert re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", paper.published)
        assert paper.paragraphs[0].section == "Title" and paper.paragraphs[0].text == paper.title
        assert [each.index for each in paper.paragraphs] == list(range(len(paper.paragraphs)))


def test_held_out_texts_are_of_whole_papers_and_most_of_them_empty():
    kept, held = held_out(sample_tasks(), 0.3)
    papers = [{task.meta["paper"] for task in part} for part in (kept, held)]
    assert papers[0] and papers[1] and not papers[0] & papers[1]
    assert len(kept) + len(held) == 104 and sum(not task.spans for task in held) > len(held) / 3
