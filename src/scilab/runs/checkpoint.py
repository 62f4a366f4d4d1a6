"""A capability's state as bytes. Nothing is unpickled: torch reads tensors and plain containers only."""

from __future__ import annotations

import io
from typing import Any


def to_bytes(state: dict[str, Any], verify: bool) -> memoryview:
    """`state` in torch.save's form; `verify` reads it back once, so that a mistake shows now and not at the resume.

    Raises:
        TypeError: it holds more than tensors and plain containers.
    """
    import torch  # here: a run without checkpoints need not wait for the import

    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        if verify:
            torch.load(io.BytesIO(buffer.getbuffer()), weights_only=True)
    except Exception as error:
        raise TypeError(
            f"state_dict() cannot be kept: use only tensors, numbers, text, lists and dicts in it ({error})"
        ) from error
    return buffer.getbuffer()


def from_bytes(state: bytes) -> dict[str, Any]:
    """What was saved, on the CPU.

    Raises:
        ValueError: the bytes are damaged, or hold something that could run code.
    """
    import torch

    try:
        return torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(f"the checkpoint is damaged or not safe to read ({error})") from error
