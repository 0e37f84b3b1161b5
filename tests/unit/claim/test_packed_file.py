"""Logs that gzip packed: read as what they hold, with a bound on what is unpacked."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.auditing.script.frontend import source
from bpb_harness.claim import logs_called, packed_file, read_claim, read_record
from bpb_harness.claim.line_template import LineTemplate
from bpb_harness.claim.packed_file import unpack, without_packing
from bpb_harness.errors import ClaimError

LINE = b"final_exact val_loss:2.00000000 val_bpb:1.18452000\n"


def _packed(data: bytes) -> io.BytesIO:
    return io.BytesIO(gzip.compress(data))


def test_what_fits_is_whole() -> None:
    held = unpack(_packed(b"abc" * 100), "a.log.gz", 300)
    assert (held.content, held.num_bytes) == (b"abc" * 100, 300)
    two = io.BytesIO(gzip.compress(b"first\n") + gzip.compress(b"second\n"))  # as logs are rotated
    assert unpack(two, "a.log.gz", 100).content == b"first\nsecond\n"
    assert unpack(_packed(b""), "a.log.gz", 100).content == b""


@pytest.mark.parametrize("size", [4001, 5 << 20])
def test_of_more_the_beginning_and_the_end_are_kept(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    held = unpack(_packed(data), "a.log.gz", 4000)
    assert held.content == data[:1000] + b"\n" + data[-3000:]
    assert held.num_bytes == size


def test_of_what_unpacks_to_more_than_is_unpacked_no_end_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packed_file, "MOST_UNPACKED", 8 << 20)
    (tmp_path / "train.log.gz").write_bytes(gzip.compress(LINE + b"0" * (64 << 20) + LINE.replace(b"18452", b"28452")))
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.18452}')
    tracemalloc.start()
    with (tmp_path / "train.log.gz").open("rb") as file, pytest.raises(ClaimError, match=r"more than 8,388,608 bytes"):
        unpack(file, "train.log.gz", 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    claim = read_claim(tmp_path)
    (note,) = [note for note in claim.notes if note.kind == "unreadable"]
    assert note.message.startswith("train.log.gz is not unpacked")
    assert not claim.logs
    (tmp_path / "whole.log.gz").write_bytes(gzip.compress(LINE + b"0" * ((8 << 20) - len(LINE))))
    assert [log.file for log in read_claim(tmp_path).logs] == ["whole.log.gz"]


def test_a_script_is_no_part_of_a_packed_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source, "MAX_BYTES", 1000)
    for name in ("train.log", "train.log.gz"):
        held = b"import os\n" + b"=" * 990
        (tmp_path / name).write_bytes(gzip.compress(held) if name.endswith("gz") else held)
        assert source.decode_source(tmp_path / name).text.startswith("import os")
        (tmp_path / name).write_bytes(gzip.compress(held + b"=") if name.endswith("gz") else held + b"=")
        with pytest.raises(ClaimError, match="more than 1,000 bytes"):
            source.decode_source(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no gzip", r": got .*, expected a file of gzip"),
        (
            gzip.compress(LINE * 50)[:-12],
            r": it begins as a file of gzip, and is truncated: got .*; pack the log again",
        ),
        (gzip.compress(LINE)[:-4] + b"1234", r": it begins as a file of gzip, and is damaged: got .*; pack the log"),
    ],
    ids=["no gzip", "cut", "wrong size"],
)
def test_what_is_broken_is_refused_by_name(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ClaimError, match=r"train\.log\.gz cannot be unpacked" + said):
        unpack(io.BytesIO(data), "train.log.gz", 1000)
    (tmp_path / "train.log.gz").write_bytes(data)
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.18452}')
    claim = read_claim(tmp_path)
    (note,) = [note for note in claim.notes if note.kind == "unreadable"]
    assert note.message.startswith("train.log.gz cannot be unpacked")
    assert not claim.logs


@pytest.mark.parametrize("name", ["train.log.gz", "TRAIN.LOG.GZ", "out.txt.gz", "a.out.gz"])
def test_a_packed_log_is_evidence_as_it_would_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"step 1\n" + LINE))
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.18452}')
    (found,) = audit(tmp_path).with_code("BPB401")
    assert found.evidence["places"] == [f"{name}:2"]


def test_other_packed_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "model.pt.gz").write_bytes(gzip.compress(LINE))
    (tmp_path / "requirements.txt.gz").write_bytes(gzip.compress(LINE))
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.18452}')
    assert audit(tmp_path).files == ("submission.json",)


def test_a_script_in_a_packed_log_is_checked(tmp_path: Path) -> None:
    script = (Path(__file__).parents[3] / "fixtures" / "scripts" / "wrong_space_twice_table.py").read_bytes()
    (tmp_path / "train.log.gz").write_bytes(gzip.compress(script + b"=" * 100 + b"\n" + LINE))
    assert audit(tmp_path).with_code("BPB151")


def test_the_name_without_packing() -> None:
    assert [without_packing(name) for name in ("a.log.gz", "a.log", "a.GZ", "gz")] == ["a.log", "a.log", "a", "gz"]


def test_rules_call_a_packed_log_by_its_name_without_packing(tmp_path: Path) -> None:
    for name, score in (("train.log.gz", 1.18), ("older.log", 1.28)):
        data = LINE.replace(b"1.18452", b"%.5f" % score)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    logs = read_record(tmp_path).logs
    assert [log.file for log in logs_called(logs, [LineTemplate("train.log")])] == ["train.log.gz"]
