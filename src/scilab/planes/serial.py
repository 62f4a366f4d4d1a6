"""Objects to bytes and back, for the data plane.

One header, one pickle, then every large buffer (numpy arrays, torch tensors) uncopied behind it at an aligned
offset: pickle protocol 5 with out-of-band buffers. Classes defined in a notebook cell travel by value, by
cloudpickle. What :func:`loads` returns owns its memory, so no two tasks ever share one mutable tensor. Tensors that
cover the same storage (tied weights) stay tied; a slice travels as its own elements alone.
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


class _Bytes:
    """One storage of a torch tensor; pickled once however many tensors lie on it."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor  # keeps the storage, and so its address, alive while the pickle is written

    def __reduce__(self) -> tuple:
        import torch

        return _storage, (pickle.PickleBuffer(self.tensor.reshape(-1).view(torch.uint8).numpy()),)


def _storage(data: Any) -> Any:
    import torch

    return torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)


def _tensor(flat: Any, dtype: str, shape: tuple, requires_grad: bool, parameter: bool) -> Any:
    import torch

    tensor = flat.view(getattr(torch, dtype)).view(shape)
    if parameter:
        return torch.nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


class _Pickler(cloudpickle.Pickler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._storages: dict[int, _Bytes] = {}

    def reducer_override(self, obj: Any) -> Any:
        torch = sys.modules.get("torch")
        # A tensor class that is still being imported by another thread cannot be here yet.
        if torch is None or type(obj) not in (torch.Tensor, torch.nn.Parameter) or not _is_plain(torch, obj):
            return super().reducer_override(obj)
        plain = obj.detach()
        if plain.untyped_storage().nbytes() != plain.numel() * plain.element_size() or not plain.is_contiguous():
            # A slice travels alone: the data set it was cut from stays here.
            plain = plain.clone(memory_format=torch.contiguous_format)
        flat = self._storages.setdefault(plain.data_ptr() or id(obj), _Bytes(plain))
        dtype = str(obj.dtype).removeprefix("torch.")
        return _tensor, (flat, dtype, tuple(obj.shape), obj.requires_grad, type(obj) is torch.nn.Parameter)


def _is_plain(torch: Any, t: Any) -> bool:
    dense = t.device.type == "cpu" and t.layout is torch.strided and t.is_leaf and not t.is_quantized
    return dense and not t.is_conj() and not t.is_neg() and not getattr(t, "__dict__", None)


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
    out = [MAGIC + struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)]
    size = len(out[0])
    for part in (body, *views):
        out += [b"\0" * (-size % ALIGN), part]
        size += -size % ALIGN + len(part)
    return b"".join(out)  # the one copy


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
