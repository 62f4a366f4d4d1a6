"""Files between the page and a widget; they travel in parts."""

from __future__ import annotations

from typing import Any

PART_BYTES = 1 << 20  # a websocket of the Jupyter server takes 10 MB a message at most


class Files:
    """The half of a widget that sends downloads and takes uploads."""

    _upload: bytearray | None = None

    def _send_file(self, id: str, name: str, data: bytes) -> None:
        """Send the page a download; ``id`` is what it asked for."""
        parts = range(0, max(1, len(data)), PART_BYTES)
        for start in parts:
            self.send({"type": "file", "id": id, "name": name, "part": start // PART_BYTES, "parts": len(parts)},
                      buffers=[data[start:start + PART_BYTES]])

    def _uploaded(self, data: Any, part: int, parts: int) -> bytes | None:
        """The whole of an upload once its last part is there, None before; parts come in order."""
        if part == 0 or self._upload is None:
            self._upload = bytearray()
        self._upload += bytes(data or b"")
        if part + 1 < parts:
            return None
        whole, self._upload = bytes(self._upload), None
        return whole
