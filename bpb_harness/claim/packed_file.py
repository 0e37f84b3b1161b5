"""Files that gzip packed: unpacked as they are read, with a bound on what is kept and on what is unpacked at all.

A thousand bytes may unpack to a million; nothing is held of them but a beginning and an end.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from bpb_harness.errors import ClaimError

PACKED = ".gz"
MOST_UNPACKED = 256 << 20  # bytes; a stream that holds more is refused: where it ends is not seen
_CHUNK = 1 << 20
_SIGN = b"\x1f\x8b"


@dataclass(frozen=True)
class Unpacked:
    """What a packed file holds, or its beginning and its end.

    Attributes:
        content: its bytes; where there are more than were asked for, the first quarter and the last three of those.
        num_bytes: how many it holds.
    """

    content: bytes
    num_bytes: int


def is_packed(name: str) -> bool:
    """Whether a file is one by its name."""
    return name.lower().endswith(PACKED)


def without_packing(name: str) -> str:
    """``train.log`` of ``train.log.gz``; any other name as it is."""
    return name[: -len(PACKED)] if is_packed(name) else name


def unpack(stream: BinaryIO, name: str, limit: int) -> Unpacked:
    """Unpack a stream, keeping at most so much.

    Args:
        stream: the packed bytes.
        name: the file's name, for messages.
        limit: bytes that are kept.

    Raises:
        ClaimError: if it is not packed by gzip, ends before its end, or holds more than is unpacked of any.
    """
    head, tail, num_bytes = bytearray(), bytearray(), 0
    num_first = limit // 4
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            while chunk := file.read(_CHUNK):
                num_bytes += len(chunk)
                if num_bytes > MOST_UNPACKED:
                    break
                room = max(0, num_first - len(head))
                head += chunk[:room]
                tail += chunk[room:]
                if len(tail) > limit + _CHUNK:
                    del tail[: len(tail) - limit]
    except (OSError, EOFError, zlib.error) as problem:
        seen = str(problem)[:100] or type(problem).__name__
        if not _begins_packed(stream):
            raise ClaimError(f"{name} cannot be unpacked", seen=seen, expected="a file of gzip") from problem
        how = "truncated" if isinstance(problem, EOFError) else "damaged"
        hint = "pack the log again, or give it unpacked"
        raise ClaimError(
            f"{name} cannot be unpacked: it begins as a file of gzip, and is {how}", seen=seen, hint=hint
        ) from problem
    if num_bytes > MOST_UNPACKED:
        seen, expected = f"more than {MOST_UNPACKED:,} bytes", "at most so many"
        raise ClaimError(f"{name} is not unpacked", seen=seen, expected=expected, hint="give it unpacked")
    if num_bytes <= limit:
        return Unpacked(bytes(head + tail), num_bytes)
    return Unpacked(bytes(head + b"\n" + tail[-(limit - num_first) :]), num_bytes)


def _begins_packed(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(len(_SIGN)) == _SIGN
