"""The file of bits: what it was made of, in JSON, and streams of bits behind it.

Version 1, numbers unsigned and little-endian::

    bytes             content
    18                "bpb-harness proof", and a line feed
    4                 version, 1
    4                 length of the header, H
    4                 number of streams, S
    8 S               length of each stream
    H                 header: a JSON object in ASCII, keys sorted, without spaces
    lengths' sum      streams, one after another
    32                sha256 of all before

Nothing is behind that. A header has one spelling, so that the same content is the same bytes. What it has to say is its
writer's business; the streams are independent of each other, and a reader gets them as they are.

A file that somebody else gave is read in bounded memory and time: its size and the numbers at its start have to agree
with each other and with the limits before anything of that size is read, and its sum before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bpb_harness.errors import InputError, UsageError
from bpb_harness.foreign_files import kind_of
from bpb_harness.whole_file import write_whole

VERSION = 1
LARGEST_HEADER = 1 << 22
LARGEST_FILE = 1 << 28
MAX_STREAMS = 1 << 12

_MAGIC = b"bpb-harness proof\n"
_NUMBERS = struct.Struct("<III")
_SUM_BYTES = 32
_AGAIN = "take the file that bpb-prove --proof wrote, whole"


def write_bits(path: Path, header: Mapping[str, Any], streams: Sequence[bytes]) -> None:
    """Write a file of bits, whole or not at all.

    Args:
        path: replaced if it exists.
        header: plain values with text for keys: numbers that are finite, text, lists and dictionaries of them.
        streams: the bits.

    Raises:
        UsageError: if it would be larger than a reader takes.
        OutputError: if it cannot be written.
        ValueError: if the header does not come back from JSON as it is.
    """
    text = _spelled(dict(header))
    if json.loads(text) != dict(header):
        raise ValueError("a header of plain values comes back from JSON as it is")
    size = _size_of(len(text), [len(stream) for stream in streams])
    for what, seen, most in (
        ("a header of", len(text), LARGEST_HEADER),
        ("a file of", size, LARGEST_FILE),
        ("streams:", len(streams), MAX_STREAMS),
    ):
        if seen > most:
            raise UsageError(
                f"{path}: too large for a file of bits", seen=f"{what} {seen:,}", expected=f"at most {most:,}",
                hint="pass a smaller --num-windows",
            )  # fmt: skip
    lengths = struct.pack(f"<{len(streams)}Q", *map(len, streams))
    content = [_MAGIC, _NUMBERS.pack(VERSION, len(text), len(streams)), lengths, text, *streams]
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    write_whole(path, lambda file: file.writelines([*content, digest.digest()]))


def read_bits(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Read a file of bits that anybody may have written.

    Args:
        path: a regular file.

    Returns:
        Its header, whose content nobody has looked at, and its streams.

    Raises:
        InputError: if it cannot be read, or is no file of bits of this version, whole and unchanged.
    """
    name = Path(path).name
    with _opened(Path(path), name) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256()

        def take(count: int) -> bytes:
            part = file.read(count)
            digest.update(part)
            if len(part) != count:
                raise InputError(f"{name}: cut short", seen=f"{size:,} bytes", hint=_AGAIN)
            return part

        start = file.read(len(_MAGIC))
        if start != _MAGIC:
            raise InputError(
                f"{name}: no file of bits", seen=f"{start[:12]!r} at its start" if start else "an empty file",
                expected=repr(_MAGIC), hint="name the file that bpb-prove --proof wrote",
            )  # fmt: skip
        digest.update(start)
        version, header_length, num_streams = _NUMBERS.unpack(take(_NUMBERS.size))
        _require_version(name, version)
        _require_at_most(name, "header", header_length, LARGEST_HEADER, "bytes")
        _require_at_most(name, "streams", num_streams, MAX_STREAMS, "of them")
        lengths = struct.unpack(f"<{num_streams}Q", take(8 * num_streams))
        expected = _size_of(header_length, lengths)
        _require_at_most(name, "size", expected, LARGEST_FILE, "bytes")
        if size != expected:
            kind = "cut short" if size < expected else "more behind its end"
            raise InputError(f"{name}: {kind}", seen=f"{size:,} bytes", expected=f"{expected:,}", hint=_AGAIN)
        text = take(header_length)
        streams = [take(length) for length in lengths]
        found = digest.digest()
        if take(_SUM_BYTES) != found:
            raise InputError(f"{name}: damaged", seen="bytes of another checksum than it ends with", hint=_AGAIN)
    return _header(name, text), streams


def _opened(path: Path, name: str) -> BinaryIO:
    """Open a regular file without waiting, as a named pipe would make it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        seen = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{name}: cannot be read", seen=seen, hint="name a file of bits") from error
    kind = kind_of(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise InputError(f"{name}: cannot be read", seen=kind, expected="a file", hint="name a file of bits")
    return os.fdopen(descriptor, "rb")


def _size_of(header_length: int, lengths: Sequence[int]) -> int:
    return len(_MAGIC) + _NUMBERS.size + 8 * len(lengths) + header_length + sum(lengths) + _SUM_BYTES


def _require_version(name: str, version: int) -> None:
    if version != VERSION:
        raise InputError(
            f"{name}: version of the file of bits", seen=version, expected=VERSION,
            hint="read it with the bpb-harness that wrote it",
        )  # fmt: skip


def _require_at_most(name: str, what: str, seen: int, most: int, unit: str) -> None:
    if seen > most:
        raise InputError(f"{name}: {what}", seen=f"{seen:,} {unit}", expected=f"at most {most:,}", hint=_AGAIN)


def _spelled(content: dict[str, Any]) -> bytes:
    """The one spelling of a header."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _header(name: str, text: bytes) -> dict[str, Any]:
    """What a header says, if it is spelled as :func:`_spelled` does: each key once, numbers finite."""
    try:
        content = json.loads(text)
        is_spelled = isinstance(content, dict) and _spelled(content) == text
    except (ValueError, RecursionError):
        is_spelled = False
    if not is_spelled:
        raise InputError(f"{name}: header", seen=repr(text[:40]), expected="a JSON object", hint=_AGAIN)
    assert isinstance(content, dict)
    return content
