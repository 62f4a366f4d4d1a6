"""A set of texts that only remembers 64-bit hashes of them."""

from __future__ import annotations

from array import array
from hashlib import blake2b


class Seen:
    """Grows by 8 to 24 bytes a text: a Python set of the hashes takes some 70.

    Two of n different texts share a hash with a chance of n²/2⁶⁵: one in a million for six million paragraphs.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 << 10))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Remember a text; whether it was new."""
        key = int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()) or 1
        new = self._place(key)
        if new and 2 * self._count > len(self._slots):
            kept, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            self._count = 0
            for each in kept:
                if each:
                    self._place(each)
        return new

    def _place(self, key: int) -> bool:
        slots = self._slots
        slot, last = key & (len(slots) - 1), len(slots) - 1
        while found := slots[slot]:
            if found == key:
                return False
            slot = (slot + 1) & last
        slots[slot] = key
        self._count += 1
        return True
