"""The chemical tokenizer: which spans its tokens can hold."""

import spacy

from scilab.literature import sample_tasks
from scilab.literature.tokenizer import chemical_tokenizer

NAMES = (
    "lopinavir/ritonavir", "N,N-dimethylformamide", "[5-HT]", "[Ca]", "(-)-epigallocatechin-3-gallate", "β-D-glucan",
    "2'-C-methylcytidine", "GS-441524", "1,25(OH)2D3", "D-[AmB]", "α-ketoamide", "Mg(2+)", "zinc", "trans-resveratrol",
    "5-fluorouracil", "Na+", "remdesivir", "2',3'-dideoxyinosine", "H2O2", "Kaletra®", "E-64d", "poly(I:C)", "3.5-HPA",
)  # fmt: skip
PLACES = (
    "{}", "with {} alone", "({})", "{}-treated cells", "{}/placebo", "non-{}", "{},", "{}.", "“{}”", "{}'s effect",
    "•{}", "{}−{}", "{}+IFN", "of {}[13]", "{};{}", "{}\u2028next", "{}_x", "{}™", "5 mg/{}", "{}…",
)  # fmt: skip


def spans_of(place, name):
    """Every occurrence of the name in the place, by plain counting."""
    text, spans = "", []
    pieces = place.split("{}")
    for number, piece in enumerate(pieces):
        text += piece
        if number < len(pieces) - 1:
            spans.append((len(text), len(text) + len(name)))
            text += name
    return text, spans


def test_at_least_997_of_1000_spans_are_whole_tokens():
    nlp = spacy.blank("en")
    ours, theirs = chemical_tokenizer(nlp), nlp.tokenizer
    cases = [spans_of(place, name) for name in NAMES for place in PLACES]
    cases += [(task.text, [(span.start, span.end) for span in task.spans]) for task in sample_tasks()]
    total = sum(len(spans) for _, spans in cases)

    def held(tokenizer):
        return sum(tokenizer(text).char_span(*span) is not None for text, spans in cases for span in spans)

    assert total > 500
    assert held(ours) >= 0.997 * total
    assert held(theirs) < 0.9 * total  # the cases are hard ones


def test_every_character_comes_back_and_numbers_stay_whole():
    tokenizer = chemical_tokenizer(spacy.blank("en"))
    text = "IC50 = 0.77\u00a0µM (10,000\tcells)\r\n\U0001f48a  chloroquine's… e\u0301tude"
    doc = tokenizer(text)
    assert doc.text == text
    assert "".join(token.text_with_ws for token in doc) == text
    words = [token.text for token in doc]
    assert {"0.77", "10,000", "chloroquine", "IC50"} <= set(words)
