"""The words of a text that are pointed at, as the model's tokenizer parts them."""

from __future__ import annotations

import re
from unicodedata import category

_TOKEN = re.compile(r"(?:[^\W_]|(?<=\d)[.,](?=\d))+|[^\w\s]|_")


def tokens(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words and marks that are pointed at, in code points.

    They are the tokens of `scilab.literature.chemical_tokenizer`, found without loading spaCy, but for combining marks:
    a letter, its marks and the letters after them stay together.
    """
    found: list[tuple[int, int]] = []
    for start, end in (match.span() for match in _TOKEN.finditer(text)):
        joined = found and found[-1][1] == start
        if joined and (_combines(text[start]) or (_combines(text[start - 1]) and text[start].isalnum())):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _combines(character: str) -> bool:
    return category(character).startswith("M")
