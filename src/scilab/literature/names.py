"""From the forms in which a name is printed to one key, by rules that never join two different compounds.

Locants, signs and inner punctuation tell compounds apart, so only what surrounds a name is taken off. Each rule that
changed something is named, and callers keep the form they had.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

RULES = "names 1"
"""Changes when a rule does."""

_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－⁃˗"), "-")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f"))
_GREEK = str.maketrans(
    {
        "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
        "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "π": "pi",
        "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
    }
)  # fmt: skip
_RAISED = re.compile(r"(?<=[^\W\d_]{3})[⁰¹²³⁴-⁹](?:[⁰¹²³⁴-⁹]|[,⁻])*$")
_NOTES = re.compile(r"(?<=[a-z]{3})(?:,\d{1,3})+$|(?<=[a-z]{3})\[\d{1,3}(?:[,\-]\d{1,3})*\]$")
_FRONT, _BACK = "•·●▪*†‡§¶\"'`“”‘’«»‹›,;:.!?-|/\\_=<>~#%&", "•·●▪*†‡§¶\"'`“”‘’«»‹›,;:.!?-|/\\_=<>~#%&®™©"
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_JOINED = re.compile(r"(?<=\w) ?([-/+]) ?(?=\w)")


@dataclass(frozen=True)
class Name:
    """`key` is what names are counted under; `rules` are those that changed `raw` on the way."""

    raw: str
    key: str
    rules: tuple[str, ...]


@lru_cache(maxsize=65536)
def normalised(raw: str) -> Name:
    """The key of a printed name.

    In turn: "raised" (superscript footnote numbers at the end), "compatibility" (NFKC: ligatures, full width,
    subscripts), "invisible" (soft hyphens, zero-width and direction marks), "dashes" (eleven of them to "-"), "case",
    "greek" (letters spelt out), "spaces" (runs of white space; those beside a joining -, / or +), "outer" (bullets,
    quotes, stray brackets and marks around the name; a signed locant such as (+)- stays), "notes" (glued reference
    numbers, "studied,13,14"). A form of which nothing would be left is kept as it is, by the rule "bare".
    """
    rules: list[str] = []
    text = raw

    def step(rule: str, changed: str) -> str:
        if changed != text:
            rules.append(rule)
        return changed

    text = step("raised", _RAISED.sub("", text.strip()))
    text = step("compatibility", unicodedata.normalize("NFKC", text))
    text = step("invisible", text.translate(_INVISIBLE))
    text = step("dashes", text.translate(_DASHES))
    text = step("case", text.lower())
    text = step("greek", text.translate(_GREEK))
    text = step("spaces", _JOINED.sub(r"\1", " ".join(text.split())))
    text = step("outer", _outer(text))
    text = step("notes", _outer(_NOTES.sub("", text)))
    if not any(letter.isalnum() for letter in text):
        return Name(raw, " ".join(raw.split()).lower() or raw, ("bare",))
    return Name(raw, text, tuple(rules))


def _outer(text: str) -> str:
    while True:
        before = text
        text = text.lstrip(_FRONT + " ").rstrip(_BACK + " ")
        for opening, closing in _PAIRS.items():
            if text.startswith(opening):
                end = _partner(text, opening, closing)
                # The whole in brackets, or a bracket that nothing closes; "(+)-catechin" is neither.
                if end in (None, len(text) - 1):
                    text = text[1:end]
            if text.endswith(closing) and text.count(opening) < text.count(closing):
                text = text[:-1]
            if text.endswith(opening):
                text = text[:-1]
        if text == before:
            return text


def _partner(text: str, opening: str, closing: str) -> int | None:
    """Where the bracket that `text` begins with is closed."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == opening) - (letter == closing)
        if depth == 0:
            return place
    return None
