"""Token shards as trainers write them, memory-mapped: they cost no memory but the pages that are read.

    v1         256 little-endian int32 (20240520, 1, number of tokens, zeros), then little-endian uint16 tokens
    v1-uint32  the same with uint32 tokens
    v7         the same with (20240801, 7, number of tokens): uint32 tokens
    npy        a NumPy array of integers of one dimension, any width and byte order
    uint16     no header: little-endian uint16 tokens from the first byte to the last (nanoGPT)
    uint32     likewise, uint32

`auto` takes what a file's first bytes prove: v1, v7, npy. Nothing proves the others: they are read where they are
named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.freed_memory import let_go
from bpb_harness.text.files import cannot_be_read, plain_suffix, require_regular
from bpb_harness.text.signs import LONGEST_SIGN, sign_of

ShardFormat = Literal["auto", "v1", "v1-uint32", "v7", "npy", "uint16", "uint32"]
Tokens = NDArray[np.integer]

SHARD_MAGIC, SHARD_VERSION = 20240520, 1
WIDE_MAGIC, WIDE_VERSION = 20240801, 7
HEADER_BYTES = 256 * 4
_CHUNK_TOKENS = 1 << 20
_NPY_SIGN = b"\x93NUMPY"
_LARGEST_NPY_HEADER = 4096
_LARGEST_ID = 2**31 - 1
_NO_SHARD_HINT = "give token shards here, and text as --docs"
_FORMATS: tuple[ShardFormat, ...] = get_args(ShardFormat)
DEFAULT_FORM = "token shards"
_WORDS: dict[str, str] = {
    "v1": DEFAULT_FORM,
    "v1-uint32": "token shards with a version-1 header and uint32 tokens",
    "v7": "token shards of version 7 (uint32 tokens)",
    "npy": "NumPy arrays",
    "uint16": "uint16 tokens without a header",
    "uint32": "uint32 tokens without a header",
}


@dataclass(frozen=True)
class Shard:
    """One file of tokens.

    Attributes:
        tokens: (N,), memory-mapped.
        form: the format in which they were read; never `auto`.
    """

    tokens: Tokens
    form: ShardFormat

    @property
    def words(self) -> str:
        """The format in words."""
        return _WORDS[self.form]


def require_format(form: str) -> ShardFormat:
    """A value of --shard-format.

    Raises:
        UsageError: if there is no such format.
    """
    for known in _FORMATS:
        if form == known:
            return known
    raise UsageError("--shard-format", seen=repr(form), expected=" or ".join(_FORMATS))


def map_file(path: Path, *, form: ShardFormat = "auto", vocab_size: int | None = None) -> Shard:
    """Map the tokens of one file.

    Args:
        path: a regular file.
        form: how it is laid out.
        vocab_size: V; every token is checked to be below it.

    Raises:
        CorpusError: another format than `form`, one that nothing proves, a length that does not fit the header, a token
            out of range. It names the format that was seen, where it is known, and what to pass.
    """
    require_format(form)
    size = require_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(max(HEADER_BYTES, LONGEST_SIGN))
        shard = _map(path, head, size, form, vocab_size)
    except OSError as error:
        raise cannot_be_read(path, error) from error
    _check_range(path, shard, vocab_size)
    return shard


def _map(path: Path, head: bytes, size: int, form: ShardFormat, vocab_size: int | None) -> Shard:
    if not size:
        raise CorpusError(
            f"{path}: not a token shard",
            seen="0 bytes",
            expected=f"a header of {HEADER_BYTES}" if form not in ("npy", "uint16", "uint32") else "tokens",
            hint="the file is empty: write or fetch it again",
        )
    proven = _proven_form(head)
    if form in ("uint16", "uint32"):
        return _map_headerless(path, head, size, form, proven)
    if form == "npy" or (form == "auto" and proven == "npy"):
        return _map_npy(path, head, size)
    if form == "auto" and proven is None:
        raise _no_shard(path, head, size, vocab_size)
    if form == "v7" or (form == "auto" and proven == "v7"):
        return _map_with_header(path, head, size, "v7")
    return _map_with_header(path, head, size, "v1-uint32" if form == "v1-uint32" else "v1")


def _proven_form(head: bytes) -> ShardFormat | None:
    """The format that a file's first bytes name, whether or not the rest keeps to it."""
    if head.startswith(_NPY_SIGN):
        return "npy"
    magic = int.from_bytes(head[:4], "little") if len(head) >= HEADER_BYTES else 0
    return {SHARD_MAGIC: "v1", WIDE_MAGIC: "v7"}.get(magic)  # type: ignore[return-value]


def _map_with_header(path: Path, head: bytes, size: int, form: Literal["v1", "v1-uint32", "v7"]) -> Shard:
    right_magic, right_version = (WIDE_MAGIC, WIDE_VERSION) if form == "v7" else (SHARD_MAGIC, SHARD_VERSION)
    magic, version, count = _header(head)
    if magic != right_magic:
        raise CorpusError(
            f"{path}: not a token shard: wrong magic number",
            seen=_named(head, str(magic)),
            expected=right_magic,
            hint=f"leave out --shard-format {form}" if _proven_form(head) else _NO_SHARD_HINT,
        )
    if version != right_version:
        raise CorpusError(f"{path}: unknown version of a token shard", seen=version, expected=right_version)
    width = 2 if form == "v1" else 4
    if count < 0 or size != HEADER_BYTES + width * count:
        raise _wrong_length(path, size, count, width, form)
    if count == 0:
        return Shard(np.zeros(0, np.uint16), form)
    kind = f"<u{width}"
    return Shard(np.memmap(path, dtype=kind, mode="r", offset=HEADER_BYTES, shape=(count,)), form)


def _header(head: bytes) -> tuple[int, int, int]:
    """Magic, version and number of tokens; zeros where the file is too short for a header."""
    if len(head) < HEADER_BYTES:
        return 0, 0, 0
    magic, version, count = np.frombuffer(head, "<i4", 3).tolist()
    return magic, version, count


def _wrong_length(path: Path, size: int, count: int, width: int, form: str) -> CorpusError:
    other = 6 - width
    if count > 0 and size == HEADER_BYTES + other * count:
        kind, flag = ("uint32", "v1-uint32") if other == 4 else ("uint16", "v1")
        named = (
            "version 7 (uint32 tokens)"
            if form == "v7"
            else f"version 1 ({'uint16' if width == 2 else 'uint32'} tokens)"
        )
        what = f"{path}: a shard with the header of {named} and the length of {kind} tokens"
        hint = f"pass --shard-format {flag}" if form != "v7" else "write it again with uint32 tokens"
        return CorpusError(what, seen=f"{other} bytes a token", expected=f"{width}", hint=hint)
    return CorpusError(
        f"{path}: the file does not have the length that its header gives",
        seen=f"{size} bytes",
        expected=f"{HEADER_BYTES} + {width} x {count} = {HEADER_BYTES + width * count}",
        hint="it is truncated or damaged: fetch it again",
    )


def _map_headerless(
    path: Path, head: bytes, size: int, form: Literal["uint16", "uint32"], proven: ShardFormat | None
) -> Shard:
    width = 2 if form == "uint16" else 4
    sign = sign_of(head)
    if proven is not None or (sign is not None and not sign.startswith("text")):  # two bytes of a mark may be a token
        raise CorpusError(
            f"{path}: not {_WORDS[form]}",
            seen=sign or "a header",
            hint=f"leave out --shard-format {form}" if proven else _NO_SHARD_HINT,
        )
    if size % width:
        raise CorpusError(
            f"{path}: not {_WORDS[form]}", seen=f"{size} bytes", expected=f"a multiple of {width}",
            hint="it is truncated, or of another format",
        )  # fmt: skip
    tokens = np.memmap(path, dtype=f"<u{width}", mode="r")
    if form == "uint16" and _looks_wide(tokens):
        raise CorpusError(
            f"{path}: not {_WORDS[form]}",
            seen="every second number is 0",
            hint="it looks like uint32 tokens: pass --shard-format uint32",
        )
    return Shard(tokens, form)


def _looks_wide(words: Tokens) -> bool:
    """Whether 16-bit words are the halves of small 32-bit numbers."""
    start = np.asarray(words[:_CHUNK_TOKENS])
    return len(words) % 2 == 0 and len(start) >= 4 and not start[1::2].any() and bool(start[::2].any())


def _map_npy(path: Path, head: bytes, size: int) -> Shard:
    if not head.startswith(_NPY_SIGN):
        raise CorpusError(
            f"{path}: not a NumPy array", seen=_named(head, "another beginning"), hint="leave out --shard-format npy"
        )
    shape, kind, offset = _npy_header(path)
    if kind.kind not in "iu" or kind.hasobject:
        raise CorpusError(
            f"{path}: a NumPy array of no integers", seen=kind.name, expected="uint16 or another integer type",
            hint="write the token ids with numpy.save(FILE, ids.astype('uint16')), or uint32",
        )  # fmt: skip
    if len(shape) != 1:
        raise CorpusError(
            f"{path}: a NumPy array of {len(shape)} dimensions", seen=list(shape), expected="one stream of tokens",
            hint="write it with numpy.save(FILE, ids.reshape(-1)), if rows follow each other and are not padded",
        )  # fmt: skip
    if size != offset + kind.itemsize * shape[0]:
        raise CorpusError(
            f"{path}: the file does not have the length that its header gives",
            seen=f"{size} bytes",
            expected=f"{offset} + {kind.itemsize} x {shape[0]} = {offset + kind.itemsize * shape[0]}",
            hint="it is truncated or damaged: fetch it again",
        )
    if shape[0] == 0:
        return Shard(np.zeros(0, np.uint16), "npy")
    return Shard(np.memmap(path, dtype=kind, mode="r", offset=offset, shape=shape), "npy")


def _npy_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and length of the header; read as data of bounded size, nothing is unpickled."""
    from numpy.lib import format as npy

    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version[0]}.{version[1]}")
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, kind = read(file, max_header_size=_LARGEST_NPY_HEADER)
            return tuple(int(length) for length in shape), kind, file.tell()
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"{path}: a damaged NumPy array", seen=reason, hint="write or fetch it again") from error


def _no_shard(path: Path, head: bytes, size: int, vocab_size: int | None) -> CorpusError:
    """What a file is that no magic number proves to be a shard, and the flag for it."""
    what, magic = f"{path}: not a token shard: wrong magic number", _header(head)[0]
    seen: object = magic if len(head) >= HEADER_BYTES else f"{size} bytes"
    if len(head) >= HEADER_BYTES and _is_text(head):
        return CorpusError(what, seen="text", expected=SHARD_MAGIC, hint=_NO_SHARD_HINT)
    sign = sign_of(head)
    if sign == "a token shard":
        return CorpusError(
            f"{path}: a token shard without its whole header", seen=seen, expected=f"a header of {HEADER_BYTES}",
            hint="it is truncated or damaged: fetch it again",
        )  # fmt: skip
    if sign is not None:
        return CorpusError(what, seen=sign, expected=SHARD_MAGIC, hint=_hint_for(sign))
    if len(head) >= 4 and int.from_bytes(head[:4], "big") in (SHARD_MAGIC, WIDE_MAGIC):
        return CorpusError(what, seen="the bytes of one in big-endian order", hint="write it little-endian")
    headerless = _headerless_form(path, head, size, vocab_size)
    if headerless is not None:
        return CorpusError(
            what, seen=seen, expected=SHARD_MAGIC,
            hint=f"it looks like {_WORDS[headerless]}{_and_an_index(path)}: if it is, pass --shard-format {headerless}",
        )  # fmt: skip
    if len(head) < HEADER_BYTES:
        return CorpusError(
            f"{path}: not a token shard", seen=seen, expected=f"a header of {HEADER_BYTES}", hint=_NO_SHARD_HINT
        )
    return CorpusError(what, seen=seen, expected=SHARD_MAGIC, hint=_NO_SHARD_HINT)


def _headerless_form(path: Path, head: bytes, size: int, vocab_size: int | None) -> Literal["uint16", "uint32"] | None:
    """Which width of tokens without a header a file looks like, by its first tokens; None: like neither."""
    if size % 2 or size < 4 or plain_suffix(path) in (".txt", ".json", ".jsonl") or _is_text(head):
        return None
    size_of_vocabulary = _LARGEST_ID if vocab_size is None else vocab_size
    with path.open("rb") as file:
        start = file.read(2 * _CHUNK_TOKENS)
    start = start[: len(start) // 4 * 4]
    narrow, wide = np.frombuffer(start, "<u2"), np.frombuffer(start, "<u4")
    if size % 4 == 0 and int(wide.max()) < min(size_of_vocabulary, 1 << 24):
        return "uint32"
    return "uint16" if int(narrow.max()) < size_of_vocabulary else None


def _is_text(head: bytes) -> bool:
    try:
        return b"\x00" not in head and bool(head.decode("utf-8", errors="strict"))
    except UnicodeDecodeError as error:
        return b"\x00" not in head and error.start >= len(head) - 3  # the head cuts a character


def _and_an_index(path: Path) -> str:
    """Megatron-LM keeps its documents' borders in a second file."""
    try:
        with path.with_suffix(".idx").open("rb") as file:
            return " of Megatron-LM" if file.read(9) == b"MMIDIDX\x00\x00" else ""
    except OSError:
        return ""


def _named(head: bytes, otherwise: str) -> str:
    sign = sign_of(head)
    return otherwise if sign is None or sign == "a token shard" else sign


def _hint_for(sign: str) -> str:
    if sign in ("gzip", "bzip2", "zstd", "xz", "lz4"):
        return f"it is compressed with {sign}: unpack it if it holds token shards, and give text as --docs"
    return f"this is {sign}: {_NO_SHARD_HINT}"


def _check_range(path: Path, shard: Shard, vocab_size: int | None) -> None:
    tokens, size = shard.tokens, _LARGEST_ID if vocab_size is None else vocab_size
    if vocab_size is None and tokens.dtype.kind == "u" and tokens.dtype.itemsize == 2:
        return
    signed = tokens.dtype.kind == "i"
    for start in range(0, len(tokens), _CHUNK_TOKENS):
        chunk = tokens[start : start + _CHUNK_TOKENS]
        if int(chunk.max()) >= size or (signed and int(chunk.min()) < 0):
            position = start + int(np.argmax((chunk >= size) | (chunk < 0)))
            other_order = chunk.byteswap()
            if int(other_order.max()) < size and int(other_order.min()) >= 0 and chunk.dtype.itemsize > 1:
                raise CorpusError(
                    f"{path}: its tokens are in big-endian order", seen=f"{int(tokens[position])} as token {position}",
                    expected=f"0..{size - 1}, as the other order of its bytes gives throughout",
                    hint="write it little-endian",
                )  # fmt: skip
            raise CorpusError(
                f"{path}: token {position} lies outside the vocabulary",
                seen=int(tokens[position]),
                expected=f"0..{size - 1}",
                hint="the tokenizer does not belong to this shard"
                if shard.form in ("v1", "v7", "npy")
                else f"the tokenizer does not belong to it, or it does not hold {shard.words}",
            )
        let_go(chunk)
