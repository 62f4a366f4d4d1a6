"""Objects to bytes and back, for the data plane.

One header, one pickle, then every large buffer (numpy arrays, torch tensors) uncopied behind it at an aligned
offset: pickle protocol 5 with out-of-band buffers. Classes defined in a notebook cell travel by value, by
cloudpickle. What :func:`loads` returns owns its memory, so no two tasks ever share one mutable tensor.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from typing import Any

import cloudpickle

MAGIC = b"scilab1\0"
ALIGN = 64


def _tensor(data: Any, dtype: str, shape: tuple, requires_grad: bool) -> Any:
    import torch

    flat = torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)
    tensor = flat.view(getattr(torch, dtype)).view(shape)
    return tensor.requires_grad_() if requires_grad else tensor


def _parameter(tensor: Any, requires_grad: bool) -> Any:
    import torch

    return torch.nn.Parameter(tensor, requires_grad=requires_grad)


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        torch = sys.modules.get("torch")
        # Only plain dense CPU tensors that own their whole storage: views and shared storage keep torch's own way,
        # which preserves the sharing inside one object.
        if torch is not None and type(obj) in (torch.Tensor, torch.nn.Parameter) and _is_plain(torch, obj):
            plain = obj.detach()
            raw = plain.reshape(-1).view(torch.uint8).numpy()
            dtype = str(obj.dtype).removeprefix("torch.")
            if type(obj) is torch.nn.Parameter:
                data = (pickle.PickleBuffer(raw), dtype, tuple(obj.shape), False)
                return _parameter, (_Later(data), obj.requires_grad)
            return _tensor, (pickle.PickleBuffer(raw), dtype, tuple(obj.shape), obj.requires_grad)
        return super().reducer_override(obj)


class _Later:
    """Pickles as the plain tensor that a Parameter wraps."""

    def __init__(self, data: tuple) -> None:
        self.data = data

    def __reduce__(self) -> tuple:
        return _tensor, self.data


def _is_plain(torch: Any, t: Any) -> bool:
    return (
        t.device.type == "cpu"
        and t.layout is torch.strided
        and t.is_contiguous()
        and t.is_leaf
        and not t.is_quantized
        and not t.is_complex()
        and t.dtype is not torch.bool
        and t.untyped_storage().nbytes() == t.numel() * t.element_size()
        and not t.is_conj()
        and not t.is_neg()
        and not getattr(t, "__dict__", None)
    )


def dumps(obj: Any) -> bytes:
    """``obj`` as bytes.

    Raises:
        TypeError: something inside cannot be pickled; the text names the type.
    """
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(obj)
    except Exception as error:
        raise TypeError(
            f"a {type(obj).__name__} cannot be sent between processes ({type(error).__name__}: {error}); "
            "send plain data, arrays, tensors, or classes without open files, locks or generators"
        ) from None
    body = file.getbuffer()
    views = [buffer.raw() for buffer in buffers]
    lengths = [len(body), *(len(view) for view in views)]
    out = bytearray(MAGIC + struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths))
    for part in (body, *views):
        out += b"\0" * (-len(out) % ALIGN)
        out += part
    return bytes(out)


def loads(data: Any) -> Any:
    """The object that :func:`dumps` wrote, in memory of its own.

    Raises:
        ValueError: the bytes were not written by :func:`dumps`.
    """
    view = memoryview(data)
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise ValueError("these bytes were not written by scilab's data plane")
    (count,) = struct.unpack_from("<I", view, len(MAGIC))
    lengths = struct.unpack_from(f"<{count}Q", view, len(MAGIC) + 4)
    at, parts = len(MAGIC) + 4 + 8 * count, []
    for length in lengths:
        at += -at % ALIGN
        parts.append(view[at : at + length])
        at += length
    return pickle.loads(parts[0], buffers=[bytearray(part) for part in parts[1:]])
