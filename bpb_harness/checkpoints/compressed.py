"""Compressed files of ``torch.save``: zlib, xz and zstd, unpacked in bounded memory."""

from __future__ import annotations

import io
import lzma
import zlib
from pathlib import Path
from typing import BinaryIO

from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

# int8 weights hardly shrink under zlib; a bomb shrinks a thousandfold.
_INFLATION = 8
_INFLATION_FLOOR = 16 << 20
_XZ_MEMORY = 128 << 20  # a decoder's dictionary; the strongest preset takes half of it


def inflate(file: BinaryIO, path: Path) -> BinaryIO:
    """Decompress zlib, after counting what it inflates to without keeping it."""
    data = file.read()
    most = max(_INFLATION * len(data), _INFLATION_FLOOR)
    inflater, tail, inflated = zlib.decompressobj(), data, 0
    try:
        while not inflater.eof and inflated <= most:
            piece = inflater.decompress(tail, 1 << 20)
            inflated, tail = inflated + len(piece), inflater.unconsumed_tail
            if not piece and not tail and not inflater.eof:
                raise CheckpointError(f"{path.name} is truncated", hint="copy the file again")
        if inflated > most:
            raise UnsafeCheckpointError(
                f"{path.name} inflates to more than {most} bytes",
                seen=f"{len(data)} compressed bytes",
                expected=f"at most {_INFLATION} times as many",
            )
        return io.BytesIO(zlib.decompress(data))
    except zlib.error as error:
        raise CheckpointError(f"{path.name} is damaged", seen=error, hint="copy the file again") from None


def unpack_xz(file: BinaryIO, path: Path) -> BinaryIO:
    """Decompress xz in chunks, in bounded memory."""
    data = file.read()
    most = max(_INFLATION * len(data), _INFLATION_FLOOR)
    decoder, unpacked = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), io.BytesIO()
    try:
        piece = decoder.decompress(data, 1 << 20)
        while piece or not decoder.eof:
            if not piece and decoder.needs_input:
                raise CheckpointError(f"{path.name} is truncated", hint="copy the file again")
            unpacked.write(piece)
            _require_no_bomb(unpacked.tell(), most, len(data), path)
            piece = b"" if decoder.eof else decoder.decompress(b"", 1 << 20)
    except (lzma.LZMAError, MemoryError) as error:
        raise CheckpointError(f"{path.name} is damaged", seen=error, hint="copy the file again") from None
    unpacked.seek(0)
    return unpacked


def unpack_zstd(file: BinaryIO, path: Path) -> BinaryIO:
    """Decompress zstd in chunks, in bounded memory."""
    import pyarrow  # deferred: few files need it

    data = file.read()
    most, unpacked = max(_INFLATION * len(data), _INFLATION_FLOOR), io.BytesIO()
    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
            while piece := stream.read(1 << 20):
                unpacked.write(piece)
                _require_no_bomb(unpacked.tell(), most, len(data), path)
    except (OSError, ValueError, MemoryError) as error:
        raise CheckpointError(f"{path.name} is damaged", seen=error, hint="copy the file again") from None
    unpacked.seek(0)
    return unpacked


def _require_no_bomb(unpacked: int, most: int, compressed: int, path: Path) -> None:
    if unpacked > most:
        raise UnsafeCheckpointError(
            f"{path.name} unpacks to more than {most} bytes",
            seen=f"{compressed} compressed bytes",
            expected=f"at most {_INFLATION} times as many",
        )


# By how a file begins.
UNPACKERS = {b"\xfd7zXZ\x00": unpack_xz, b"\x28\xb5\x2f\xfd": unpack_zstd, b"\x78": inflate}
