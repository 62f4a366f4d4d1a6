import pytest
from hypothesis import given
from hypothesis import strategies as st

from scilab.literature.offsets import from_units, grapheme_offsets, grapheme_starts, in_units, utf16_offsets
from scilab.literature.spans import Span

letters = st.characters(exclude_categories=["Cs"])


@given(st.text(alphabet=st.one_of(letters, st.sampled_from("a😀𝓐\r\n\u0301"))))
def test_utf16_offsets_are_those_of_the_codec(text):
    assert utf16_offsets(text) == [len(text[:place].encode("utf-16-le")) // 2 for place in range(len(text) + 1)]


# What the splitter of doccano's page (grapheme-splitter 1.0.4) makes of each text.
@pytest.mark.parametrize(
    "clusters",
    [
        ["a", "b"],
        ["e\u0301", "x"],
        ["\r\n", "\n", "a"],
        ["👩‍👩‍👧", "!"],
        ["👍🏽", "👍"],
        ["🇩🇪", "🇫🇷", "🇩"],
        ["각", "한", "ᄀᄀ각ᆨ"],
        ["क्", "षि"],  # one cluster for Unicode 15.1, two for 10.0
        ["ำ", "กำ"],
        ["\u0600a", "\u200b", "\u0301"],
        ["❤️", "❤️‍🔥"[:3], "🔥"],  # that emoji is younger than the rules
        ["👨‍❤️‍💋‍👨"],
        ["𝓐\u0308", "\u00ad", "z"],
    ],
)
def test_graphemes_are_those_of_doccanos_page(clusters):
    text, starts = "".join(clusters), [0]
    for cluster in clusters:
        starts.append(starts[-1] + len(cluster))
    assert grapheme_starts(text) == starts
    assert [place for place, number in enumerate(grapheme_offsets(text)) if number is not None] == starts


@given(st.text(alphabet=st.one_of(letters, st.sampled_from("😀\u0301\u200d👩🇩🇪")), min_size=1), st.data())
def test_spans_go_there_and_back(text, data):
    starts = grapheme_starts(text)
    first, last = sorted(data.draw(st.sets(st.integers(0, len(starts) - 1), min_size=2, max_size=2)) if len(starts) > 2
                         else {0, len(starts) - 1})  # fmt: skip
    span = Span(starts[first], starts[last], "X")
    assert in_units(text, [span], grapheme_offsets(text)) == [[first, last, "X"]]
    for offsets in (utf16_offsets(text), grapheme_offsets(text)):
        assert from_units(text, in_units(text, [span], offsets), offsets) == (span,)


def test_the_case_that_doccano_gets_wrong():
    text = "😀😀 patients were treated with aspirin"
    start = text.index("treated")
    span = Span(start, start + 10, "X")
    assert in_units(text, [span], utf16_offsets(text)) == [[start + 2, start + 12, "X"]]


def test_what_a_unit_cannot_say_is_refused():
    with pytest.raises(ValueError, match="span 0-1 'X' of .* begins or ends inside of what is one"):
        in_units("e\u0301x", [Span(0, 1, "X")], grapheme_offsets("e\u0301x"))
    with pytest.raises(ValueError, match=r"1-3 'X' of '😀x' is past the end, 3, or inside of a character"):
        from_units("😀x", [(1, 3, "X")], utf16_offsets("😀x"))
    with pytest.raises(ValueError, match="0-4 'X' of '😀x' is past the end, 3"):
        from_units("😀x", [(0, 4, "X")], utf16_offsets("😀x"))
