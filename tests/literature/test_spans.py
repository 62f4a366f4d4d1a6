import pytest

from scilab.literature import Span, check_spans, overlapping, snap


def test_spans_come_back_by_place_and_each_once():
    spans = [Span(5, 9, "B"), Span(0, 4, "A"), Span(5, 9, "B"), Span(5, 8, "B")]
    assert check_spans("0123456789", spans) == (Span(0, 4, "A"), Span(5, 8, "B"), Span(5, 9, "B"))


def test_a_span_outside_its_text_is_told_with_the_span_and_the_text():
    with pytest.raises(ValueError, match=r"span 70-80 'DRUG' lies outside its text of 14 characters, 'Take 💊 aspi"):
        check_spans("Take 💊 aspirin", [Span(70, 80, "DRUG")])
    assert check_spans("ab", [Span(0, 2, "X")]) == (Span(0, 2, "X"),)
    with pytest.raises(ValueError, match="span 1-3 'X' lies outside its text of 2 characters"):
        check_spans("ab", [Span(1, 3, "X")])


@pytest.mark.parametrize(
    "wrong, told",
    [
        ((-1, 2, "X"), "is not a stretch"),
        ((3, 3, "X"), "is not a stretch"),
        ((4, 2, "X"), "is not a stretch"),
        ((1.0, 2, "X"), "start is a whole number"),
        ((True, 2, "X"), "start is a whole number"),
        ((1, "2", "X"), "end is a whole number"),
        ((1, 2, " "), "needs a label"),
        ((1, 2, None), "needs a label"),
    ],
)
def test_what_is_no_span_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Span(*wrong)


def test_overlaps_are_those_that_share_a_character():
    a, b, c, d = Span(0, 10, "X"), Span(2, 4, "X"), Span(4, 6, "X"), Span(9, 12, "Y")
    brute = [(p, q) for p in (a, b, c, d) for q in (a, b, c, d) if p < q and p.start < q.end and q.start < p.end]
    assert set(overlapping([d, c, b, a])) == set(brute) == {(a, b), (a, c), (a, d)}


def test_a_drag_snaps_to_the_words_it_touches():
    words = [(0, 4), (5, 12), (12, 13)]  # "Take aspirin."
    assert snap(Span(7, 9, "X"), words) == Span(5, 12, "X")
    assert snap(Span(3, 6, "X"), words) == Span(0, 12, "X")
    assert snap(Span(4, 5, "X"), words) is None
