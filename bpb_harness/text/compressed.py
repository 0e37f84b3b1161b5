"""The bytes inside gzip, bzip2 and zstd, read in chunks; a file that swells beyond measure is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from bpb_harness.errors import CorpusError
from bpb_harness.text.files import COMPRESSIONS, cannot_be_read, require_regular
from bpb_harness.text.signs import LONGEST_SIGN, sign_of

READABLE = ("gzip", "bzip2", "zstd")
UNREAD = {
    "xz": "xz -dc FILE > FILE.jsonl",
    "lz4": "lz4 -dc FILE > FILE.jsonl",
}
# gzip cannot swell a file more than 1,032 times, text swells 3 to 10 times; the smallest bombs need not be met at all.
MAX_SWELLING, SWELLING_FROM = 500, 2**30
_BUFFER_BYTES = 1 << 20
_BROKEN = (OSError, EOFError, zlib.error, ValueError)


def compression_of(path: Path) -> str | None:
    """The compression that a file's first bytes show; None: none.

    Raises:
        CorpusError: no regular file.
    """
    sign = sign_of(read_head(path))
    return sign if sign in READABLE or sign in UNREAD else None


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file, as `sign_of` takes them.

    Raises:
        CorpusError: no regular file, or one that cannot be read.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_SIGN)
    except OSError as error:
        raise cannot_be_read(path, error) from error


class TextBytes:
    """The bytes of a file, unpacked where it is compressed; a context manager with bounded reads.

    Attributes:
        compression: `gzip`, `bzip2` or `zstd`; None where the file is as it is.

    Raises:
        CorpusError: in any call: a compression that is not read, a damaged or truncated stream, a bomb.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, require_regular(path)
        self.compression = compression_of(path)
        if not self._size and (named := COMPRESSIONS.get(path.suffix.lower())) is not None:
            raise CorpusError(
                f"{path}: {named} that cannot be unpacked", seen="an empty file",
                hint="it is truncated or damaged: fetch it again",
            )  # fmt: skip
        self._given = 0
        self._file: BinaryIO
        if self.compression in UNREAD:
            raise CorpusError(
                f"{path}: compressed with {self.compression}", expected=f"plain, or {', '.join(READABLE)}",
                hint=f"unpack it: {UNREAD[self.compression]}",
            )  # fmt: skip
        try:
            self._file = _open(path, self.compression)
        except _BROKEN as error:
            raise self._broken(error) from error

    def __enter__(self) -> TextBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end."""
        return self._take(lambda: self._file.read(size))

    def readline(self, size: int) -> bytes:
        """The rest of a line, with its newline; at most `size` bytes."""
        return self._take(lambda: self._file.readline(size))

    def _take(self, read: Callable[[], bytes]) -> bytes:
        try:
            taken = read()
        except _BROKEN as error:
            raise self._broken(error) from error
        self._given += len(taken)
        if self.compression and self._given > max(SWELLING_FROM, MAX_SWELLING * self._size):
            raise CorpusError(
                f"{self._path}: swells beyond measure when it is unpacked",
                seen=f"more than {self._given} bytes from {self._size}",
                expected=f"at most {MAX_SWELLING} times as many",
                hint="unpack it yourself if it is sound, and give the file inside",
            )
        return taken

    def _broken(self, error: BaseException) -> CorpusError:
        if self.compression is None:
            assert isinstance(error, OSError)
            return cannot_be_read(self._path, error)
        return CorpusError(
            f"{self._path}: {self.compression} that cannot be unpacked",
            seen=str(error) or type(error).__name__,
            hint="it is truncated or damaged: fetch it again",
        )


def _open(path: Path, compression: str | None) -> BinaryIO:
    if compression == "gzip":
        return io.BufferedReader(gzip.open(path, "rb"), _BUFFER_BYTES)
    if compression == "bzip2":
        return io.BufferedReader(bz2.open(path, "rb"), _BUFFER_BYTES)
    if compression == "zstd":
        return io.BufferedReader(_ZstdBytes(path), _BUFFER_BYTES)
    return path.open("rb")


class _ZstdBytes(io.RawIOBase):
    """A raw stream over pyarrow's decompressor, which has no `readline` of its own."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._source = pyarrow.OSFile(str(path), "rb")
        self._stream = pyarrow.CompressedInputStream(self._source, "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._stream.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._source.close()
        super().close()
