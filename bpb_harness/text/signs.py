"""What a file is, by its first bytes: formats that cannot be taken for text or for token shards, and checkpoints."""

from __future__ import annotations

import struct

LONGEST_SIGN = 512  # bytes from a file's start that `sign_of` looks at

_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"PAR1\x15", "Parquet"),
    (b"ARROW1\x00\x00", "an Arrow file"),
    (b"FEA1\x00", "Feather version 1"),
    (b"Obj\x01", "Avro"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "PDF"),
    (b"\x80\x04\x95", "a pickle"),
    (b"\x80\x05\x95", "a pickle"),
    (b"MMIDIDX\x00\x00", "the index of a Megatron-LM data set"),
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\x00\x00\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # the first block, or the end of a stream of none
_TAR_SIGN, _TAR_AT = b"ustar", 257
_ARROW_STREAM = b"\xff\xff\xff\xff"  # then the length of the schema's message
_SHARD_SIGNS = {20240520: "a token shard", 20240801: "a token shard", 20240522: "an evaluation file of llm.c"}
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_SAFETENSORS = b'{"'  # behind the length of the header, 8 bytes
_HEADER_INTS = struct.Struct("<2i")
_MAX_VERSIONS = 256


def sign_of(head: bytes) -> str | None:
    """The format that a file's first `LONGEST_SIGN` bytes show, in words that fit into "this is ..."; None: no sign."""
    if head[_TAR_AT : _TAR_AT + len(_TAR_SIGN)] == _TAR_SIGN:
        return "a tar archive"
    if head.startswith(_ARROW_STREAM) and len(head) >= 8 and 0 < int.from_bytes(head[4:8], "little") < 1 << 28:
        return "an Arrow stream"
    if len(head) >= _HEADER_INTS.size:
        magic, version = _HEADER_INTS.unpack_from(head)
        if magic in _SHARD_SIGNS and 0 <= version < _MAX_VERSIONS:
            return _SHARD_SIGNS[magic]
    if head.startswith(b"BZh") and head[4:10] in _BZIP2_BLOCKS:
        return "bzip2"
    return next((name for sign, name in _SIGNS if head.startswith(sign)), None)


def sign_of_checkpoint(head: bytes) -> str | None:
    """What of that a file is which begins as checkpoints do, in such words; None: it is none of them."""
    if head.startswith(_PICKLES):
        return "a pickle"
    if head[8:].startswith(_SAFETENSORS) and int.from_bytes(head[:8], "little") < 1 << 32:
        return "tensors of safetensors"
    sign = sign_of(head)
    return sign if sign == "a zip archive" else None
