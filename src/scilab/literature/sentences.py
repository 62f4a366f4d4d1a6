"""The sentence around a place in a text, found when it is needed: splitting all of a corpus would cost more."""

from __future__ import annotations

import re

REACH = 600
"""Characters looked at on either side; a sentence that is longer is cut there."""
_END = re.compile(r"""(?<![ .(][A-Z])[.!?]["'”’)\]]*\s+(?=["'“‘(\[]*[A-Z0-9α-ωΑ-Ω])|\n\s*""")
_ABBREVIATION = re.compile(r"\b(?:al|e\.g|i\.e|vs|cf|ca|approx|Figs?|Tabs?|Eqs?|Refs?|No|Dr|Prof|St|sp|spp|resp)\.\s+$")


def sentence_around(text: str, start: int, end: int) -> tuple[int, str]:
    """(where it starts in the text, the sentence) that holds text[start:end], in code points."""
    low, high = max(0, start - REACH), min(len(text), end + REACH)
    first = low
    for found in _END.finditer(text, low, start):
        if not _ABBREVIATION.search(text, max(low, found.start() - 12), found.end()):
            first = found.end()
    last = high
    for found in _END.finditer(text, end, high):
        if not _ABBREVIATION.search(text, max(low, found.start() - 12), found.end()):
            last = found.end()
            break
    sentence = text[first:last]
    first += len(sentence) - len(sentence.lstrip())
    return first, text[first:last].rstrip()
