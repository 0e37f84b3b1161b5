"""The file of bits: its bytes, and what is refused of files that somebody else gave."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import tracemalloc

import pytest

from bpb_harness.errors import InputError, OutputError, UsageError
from bpb_harness.proof import bit_file
from bpb_harness.proof.bit_file import read_bits, write_bits

HEADER = {"windows": [3, 1], "bits": 1.5, "order": None, "a": {"text": "\u00e9"}}
STREAMS = [b"", b"\x00\xff", b"abc"]
WHOLE = "take the file that bpb-prove --proof wrote, whole"


def made(text: bytes, streams=(), *, version=1, length=None, lengths=None, count=None, start=b"bpb-harness proof\n"):
    """A file as the format says it, written down once more; a wrong number where one is given."""
    lengths = [len(stream) for stream in streams] if lengths is None else lengths
    content = start + struct.pack(
        "<III", version, len(text) if length is None else length, len(lengths) if count is None else count
    )
    content += struct.pack(f"<{len(lengths)}Q", *lengths) + text + b"".join(streams)
    return content + hashlib.sha256(content).digest()


@pytest.fixture
def refused(tmp_path):
    def read(content: bytes) -> str:
        path = tmp_path / "it.bits"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_bits(path)
        return str(caught.value)

    return read


def test_the_bytes_of_a_file(tmp_path):
    path = tmp_path / "it.bits"
    write_bits(path, HEADER, STREAMS)
    text = b'{"a":{"text":"\\u00e9"},"bits":1.5,"order":null,"windows":[3,1]}'
    assert path.read_bytes() == made(text, STREAMS)
    assert read_bits(path) == (HEADER, STREAMS)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_in_it(tmp_path):
    write_bits(tmp_path / "x", {}, [])
    assert read_bits(tmp_path / "x") == ({}, [])


@pytest.mark.parametrize("wrong", [{"x": math.nan}, {"x": -math.inf}, {1: 2}, {"x": (1, 2)}])
def test_a_header_that_json_would_change(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"^(a header of plain values comes|Out of range)"):
        write_bits(tmp_path / "x", wrong, [])
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("limit", "most", "seen"),
    [
        ("LARGEST_HEADER", 7, "a header of 8, expected at most 7"),
        ("LARGEST_FILE", 89, "a file of 90, expected at most 89"),
        ("MAX_STREAMS", 1, "streams: 2, expected at most 1"),
    ],
)
def test_what_no_reader_takes_is_not_written(tmp_path, monkeypatch, refused, limit, most, seen):
    path, content = tmp_path / "x", ({"x": 12}, [b"12", b"34"])
    monkeypatch.setattr(bit_file, limit, most + 1)
    write_bits(path, *content)
    assert read_bits(path) == content
    monkeypatch.setattr(bit_file, limit, most)
    refused(path.read_bytes())
    path.unlink()
    with pytest.raises(UsageError) as caught:
        write_bits(path, *content)
    assert str(caught.value) == f"{path}: too large for a file of bits: got {seen}; pass a smaller --num-windows"
    assert not path.exists()


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OutputError):
        write_bits(tmp_path / "none" / "x", HEADER, STREAMS)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"",
            "no file of bits: got an empty file, expected b'bpb-harness proof\\n'; "
            "name the file that bpb-prove --proof wrote",
        ),
        (
            b"PK\x03\x04" * 100,
            "no file of bits: got b'PK\\x03\\x04PK\\x03\\x04PK\\x03\\x04' at its start, expected "
            "b'bpb-harness proof\\n'; name the file that bpb-prove --proof wrote",
        ),
        (b"bpb-harness proof\n", f"cut short: got 18 bytes; {WHOLE}"),
        (
            made(b"{}", version=2),
            "version of the file of bits: got 2, expected 1; read it with the bpb-harness that wrote it",
        ),
        (made(b"{}", length=2**32 - 1), f"header: got 4,294,967,295 bytes, expected at most 4,194,304; {WHOLE}"),
        (made(b"{}", count=2**32 - 1), f"streams: got 4,294,967,295 of them, expected at most 4,096; {WHOLE}"),
        (made(b"{}", count=4096), f"cut short: got 64 bytes; {WHOLE}"),
        (
            made(b"{}", lengths=[2**64 - 1]),
            f"size: got 18,446,744,073,709,551,687 bytes, expected at most 268,435,456; {WHOLE}",
        ),
        (made(b"{}", lengths=[2**27]), f"cut short: got 72 bytes, expected 134,217,800; {WHOLE}"),
        (made(b"{}", [b"abc"])[:-1], f"cut short: got 74 bytes, expected 75; {WHOLE}"),
        (made(b"{}", [b"abc"]) + b"\0", f"more behind its end: got 76 bytes, expected 75; {WHOLE}"),
        (
            made(b"{}", [b"abc"]).replace(b"abc", b"abd"),
            f"damaged: got bytes of another checksum than it ends with; {WHOLE}",
        ),
        (made(b""), f"header: got b'', expected a JSON object; {WHOLE}"),
        (made(b"[" + b"1" * 50), f"header: got b'[{'1' * 39}', expected a JSON object; {WHOLE}"),
        (made(b"[1]"), f"header: got b'[1]', expected a JSON object; {WHOLE}"),
        (made(b"\xff"), f"header: got b'\\xff', expected a JSON object; {WHOLE}"),
    ],
)
def test_files_that_are_refused(refused, content, text):
    assert refused(content) == f"it.bits: {text}"


@pytest.mark.parametrize(
    "text",
    [
        '{"x":1,"x":2}',
        '{"x":1,"x":1}',
        '{"x": 1}',
        '{"y":1,"x":1}',
        '{"x":NaN}',
        '{"x":1e999}',
        '{"x":1.50}',
        '{"x":"\u00e9"}',
        '{"x":' + "1" * 5000 + "}",
        '{"x":' + "[" * 100_000 + "]" * 100_000 + "}",
        "{}\n",
        "null",
    ],
)
def test_headers_in_another_spelling(refused, text):
    assert refused(made(text.encode())).startswith("it.bits: header: got b'")


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "sub").mkdir()
    for name, text in (
        ("pipe", "got a pipe, expected a file; name a file of bits"),
        ("sub", "got a folder, expected a file; name a file of bits"),
        ("none", "got No such file or directory; name a file of bits"),
    ):
        with pytest.raises(InputError) as caught:
            read_bits(tmp_path / name)
        assert str(caught.value) == f"{name}: cannot be read: {text}"
    with pytest.raises(InputError, match="embedded null"):
        read_bits(tmp_path / "a\0b")


def test_memory_is_bounded_by_what_is_there(refused):
    tracemalloc.start()
    for content in (
        made(b"{}", lengths=[2**27]),
        made(b"{}", length=2**22, lengths=[2**20] * 200),
        made(b"{}", count=4096),
    ):
        refused(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_longest_header_in_bounded_memory(refused, monkeypatch):
    monkeypatch.setattr(bit_file, "LARGEST_HEADER", bit_file.LARGEST_HEADER // 32)  # memory grows with it
    text = b'{"x":[' + b"[]," * ((bit_file.LARGEST_HEADER - 20) // 3) + b"]}"
    tracemalloc.start()
    refused(made(text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23


def test_headers_that_were_written_come_back_spelled_alike(tmp_path):
    header = {"numbers": [0.1, 1e300, 5e-324, -0.0, 2**70], "texts": ["\ud800", "\0", '"']}
    write_bits(tmp_path / "x", header, [])
    found, _ = read_bits(tmp_path / "x")
    assert json.dumps(found) == json.dumps(header)
