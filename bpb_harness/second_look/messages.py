"""How the two processes talk: a line of JSON and raw arrays, never pickles."""

from __future__ import annotations

import json
import math
import os
import selectors
import time
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LARGEST_HEADER = 1 << 20
_KINDS = ("<i8", "<f8")


@final
class Channel:
    """Two ends of pipes, without buffers: a child that is forked between two messages reads on where its parent was."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self._read_from, self._write_to = read_from, write_to

    def send(self, content: Mapping[str, Any], **arrays: Array) -> None:
        """Send plain values, and arrays of int64 or float64."""
        described = {}
        for name, array in arrays.items():
            kind = "<i8" if array.dtype == np.int64 else "<f8"
            described[name] = (kind, list(array.shape))
        header = json.dumps({"content": dict(content), "arrays": described}).encode()
        self._write(len(header).to_bytes(8, "little") + header)
        for name, array in arrays.items():
            self._write(np.ascontiguousarray(array, dtype=described[name][0]).tobytes())

    def receive(
        self, *, until: float | None = None, most: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """The other end's next message.

        Args:
            until: by when it is to have come, on ``time.monotonic``'s clock; None: it may take any time.
            most: numbers in an array that are taken; None: any.

        Raises:
            EOFError: if the other end is gone.
            TimeoutError: if it has not come by then.
            ValueError: if what comes is no message.
        """
        size = int.from_bytes(self._read(8, until), "little")
        if size > _LARGEST_HEADER:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(self._read(size, until))
        arrays = {}
        for name, (kind, shape) in header["arrays"].items():
            if kind not in _KINDS:
                raise ValueError(f"an array of {kind}")
            count = math.prod(shape)
            if most is not None and count > most:
                raise ValueError(f"an array of {count} numbers")
            arrays[name] = np.frombuffer(self._read(8 * count, until), dtype=kind).reshape(shape).copy()
        return header["content"], arrays

    def has_message(self) -> bool:
        """Whether the other end has sent something, or is gone; not known where pipes cannot be waited for."""
        if os.name == "nt":
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._read_from, selectors.EVENT_READ)
            return bool(selector.select(timeout=0))

    def _comes(self, until: float) -> bool:
        if os.name == "nt":
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._read_from, selectors.EVENT_READ)
            return bool(selector.select(timeout=max(until - time.monotonic(), 0.0)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_to, view) :]

    def _read(self, size: int, until: float | None) -> bytes:
        parts, missing = [], size
        while missing:
            if until is not None and not self._comes(until):
                raise TimeoutError
            part = os.read(self._read_from, min(missing, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)
