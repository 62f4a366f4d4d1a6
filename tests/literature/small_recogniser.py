"""A recogniser that finds the names of a list: the contract of `Recogniser` in a few lines, importable by workers."""

import re
import time
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class Found:
    start: int
    end: int
    label: str
    score: float


class ListRecogniser:
    """Finds `names`; a text with `poison` in it it cannot read, one with `endless` never ends; each takes `slow_s`."""

    labels = ("DRUG",)

    def __init__(self, names, poison="", endless="", slow_s=0.0):
        self.names, self.poison, self.endless, self.slow_s = tuple(names), poison, endless, slow_s

    @property
    def digest(self):
        return blake2b(repr(self.names).encode(), digest_size=8).hexdigest()

    def find(self, texts, scores=False):
        pattern = re.compile("|".join(map(re.escape, sorted(self.names, key=len, reverse=True))), re.IGNORECASE)
        for text in texts:
            if self.poison and self.poison in text:
                raise ValueError("cannot read this")
            if self.endless and self.endless in text:
                time.sleep(600)
            time.sleep(self.slow_s)
            yield tuple(
                Found(found.start(), found.end(), "DRUG", 0.75 if scores else float("nan"))
                for found in pattern.finditer(text)
            )
