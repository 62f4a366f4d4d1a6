"""Random streams that depend on what they are for, never on when or where something runs."""

from __future__ import annotations

from hashlib import blake2b


def stream(seed: int, purpose: str, *indices: int) -> int:
    """A seed of 63 bits for one purpose, say ("shuffle", round, device); independent of all other purposes."""
    words = "/".join(str(word) for word in (seed, purpose, *indices))
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "big") >> 1
