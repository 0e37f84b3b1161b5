"""Files of unknown encoding and size as text: what is left out or replaced is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpb_harness.claim.printed import Source
from bpb_harness.claim.record import Note, NoteKind
from bpb_harness.claim.text_file import TextFile, read_text
from bpb_harness.errors import ClaimError

HERE = Source("shown.log")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("caf\u00e9\n".encode(), None),
        (b"\xef\xbb\xbf" + "caf\u00e9\n".encode(), "starts with a byte-order mark"),
        ("caf\u00e9\n".encode("utf-16"), "is UTF-16 text"),
        (b"\xfe\xff" + "caf\u00e9\n".encode("utf-16-be"), "is UTF-16 text"),
    ],
)
def test_encodings(tmp_path: Path, raw: bytes, said: str | None) -> None:
    (tmp_path / "f").write_bytes(raw)
    notes = (Note(NoteKind.ENCODING, f"shown.log {said}", HERE),) if said else ()
    assert read_text(tmp_path / "f", "shown.log") == TextFile("caf\u00e9\n", notes)


@pytest.mark.parametrize(
    ("raw", "text", "encoding", "position"),
    [
        (b"ab\xff1.2", "ab\ufffd1.2", "utf-8", 2),
        (b"\xef\xbb\xbfa\xff1.2", "a\ufffd1.2", "utf-8", 4),
        (b"\xff\xfea\x00b", "a\ufffd", "utf-16", 4),
    ],
)
def test_what_is_no_text_is_replaced_and_said(
    tmp_path: Path, raw: bytes, text: str, encoding: str, position: int
) -> None:
    (tmp_path / "f").write_bytes(raw)
    read = read_text(tmp_path / "f", "shown.log")
    message = f"shown.log is not valid {encoding}: byte {position} cannot be decoded"
    assert (read.text, read.notes[-1]) == (text, Note(NoteKind.UNDECODABLE, message, HERE))


def test_of_a_large_file_the_first_quarter_and_the_last_three_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(32, 127)) * 20)
    whole = (tmp_path / "f").read_text()
    read = read_text(tmp_path / "f", "shown.log", limit=1000)
    message = "shown.log holds 1,900 bytes; only 1,000 of them, its start and its end, were read"
    assert read == TextFile(whole[:250] + "\n" + whole[-750:], (Note(NoteKind.TRUNCATED, message, HERE),))
    assert read_text(tmp_path / "f", "shown.log", limit=1900) == TextFile(whole)
    assert read_text(tmp_path / "f", "shown.log", limit=1899).notes


@pytest.mark.parametrize(
    ("error", "said"), [(OSError(5, "Input/output error"), "Input/output error"), (OSError(), "OSError")]
)
def test_what_fails_while_it_is_read_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    (tmp_path / "f").write_bytes(b"text")

    def fails(_: int) -> os.stat_result:
        raise error

    monkeypatch.setattr("bpb_harness.claim.text_file.os", type("Os", (), {"fstat": staticmethod(fails)}))
    with pytest.raises(ClaimError) as caught:
        read_text(tmp_path / "f", "shown.log")
    assert str(caught.value) == f"shown.log cannot be read: got {said}"
