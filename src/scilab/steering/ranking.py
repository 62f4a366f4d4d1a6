"""The queue: which candidate is next. Pinned ones first, in the order of pinning, then the ranking."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

OPEN, TAKEN, BANNED = 0, 1, 2


class Ranking:
    """Candidates 0 … size − 1 in the order of `order`; each is open, taken or banned.

    Taking, pinning and banning cost O(1) (taking: amortised over the candidates passed); a new order costs one pass,
    however many simulations run meanwhile. Candidates that were added since the last order wait behind it.
    """

    def __init__(self, order: np.ndarray) -> None:
        self.status = bytearray(len(order))
        self.pins: dict[int, None] = {}
        self.open = len(order)
        self.reorder(order)

    def __len__(self) -> int:
        return len(self.status)

    def reorder(self, order: np.ndarray) -> None:
        """Take this order from now on: a permutation of the candidates, or of the first of them."""
        order = np.ascontiguousarray(order, dtype=np.int32)
        self.digest = blake2b(order.tobytes(), digest_size=8).hexdigest()
        self.order = memoryview(order)  # its items are Python's own numbers, several times as quick as NumPy's
        self._cursor = 0

    def add(self) -> int:
        """One candidate more; returns its index."""
        self.status.append(OPEN)
        self.open += 1
        return len(self.status) - 1

    def first(self, n: int) -> list[int]:
        """The next `n` open candidates, or as many as there are; changes nothing."""
        found = []
        for index in self.pins:
            if len(found) == n:
                return found
            found.append(index)
        at, end, status, order, pins = self._cursor, len(self.order), self.status, self.order, self.pins
        while len(found) < n and at < end:
            index = order[at]
            if status[index] == OPEN and index not in pins:
                found.append(index)
            at += 1
        at = end
        while len(found) < n and at < len(status):
            if status[at] == OPEN and at not in pins:
                found.append(at)
            at += 1
        return found

    def take(self, index: int) -> None:
        """It is being simulated, or has been."""
        self._leave(index, TAKEN)

    def ban(self, index: int) -> None:
        """It is not to be simulated. Raises ValueError if that has been decided already."""
        if self.status[index] == TAKEN:
            raise ValueError("its simulation has been started already")
        self._leave(index, BANNED)

    def unban(self, index: int) -> None:
        """It may be simulated again. Raises ValueError if it is not banned."""
        if self.status[index] != BANNED:
            raise ValueError("it is not banned")
        self.status[index] = OPEN
        self.open += 1
        self._cursor = 0

    def pin(self, index: int) -> None:
        """It is next, after what was pinned before. Raises ValueError if it has been taken or banned."""
        if self.status[index] != OPEN:
            taken = self.status[index] == TAKEN
            raise ValueError("its simulation has been started already" if taken else "it is banned; unban it first")
        self.pins[index] = None

    def unpin(self, index: int) -> None:
        """Its rank decides again. Raises ValueError if it is not pinned."""
        if index not in self.pins:
            raise ValueError("it is not pinned")
        del self.pins[index]

    def _leave(self, index: int, status: int) -> None:
        if self.status[index] == OPEN:
            self.open -= 1
        self.status[index] = status
        self.pins.pop(index, None)
        at, end, now, order = self._cursor, len(self.order), self.status, self.order
        while at < end and now[order[at]] != OPEN:
            at += 1
        self._cursor = at


def by_score(scores: np.ndarray) -> np.ndarray:
    """The order of falling scores; equal ones keep their order, so that the same scores always give the same queue."""
    return np.argsort(-scores, kind="stable").astype(np.int32)
