"""A file that is there and broken is none that is missing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.auditing.report import summary_to_dict

PACKED = gzip.compress(b"final val_loss:2.06012345 val_bpb:1.22012109\n" * 40, mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PACKED[:-12], "begins as a file of gzip, and is truncated"),
        (PACKED[:12] + b"\xff\xff" + PACKED[14:], "begins as a file of gzip, and is damaged"),
        (PACKED[:-8] + bytes(8), "begins as a file of gzip, and is damaged"),
        (b"no gzip at all", "expected a file of gzip"),
    ],
    ids=["cut", "spoilt", "sum", "none"],
)
def test_a_log_that_cannot_be_unpacked_is_to_be_repaired(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.22012109, "val_loss": 2.06012345}))
    (tmp_path / "train.log.gz").write_bytes(content)
    report = audit(tmp_path)
    assert said in report.with_code("BPB901")[0].message
    assert "train.log.gz" in report.with_code("BPB402")[0].message
    assert any("train.log.gz repaired" in each for each in report.judgement.missing)
    assert not [each for each in report.judgement.missing if each.startswith("a log of the run")]


def test_where_there_is_no_log_a_packed_one_would_do(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.22012109}))
    assert "gzip" in audit(tmp_path).with_code("BPB402")[0].message


@pytest.mark.parametrize("content", ["{", "[1", "", "{nonsense}"])
def test_a_submission_that_cannot_be_read_is_none_without_a_score(tmp_path: Path, content: str) -> None:
    (tmp_path / "submission.json").write_text(content)
    (tmp_path / "a.txt").write_text("hello there\n")
    report = audit(tmp_path)
    assert not report.gives_no_score
    assert summary_to_dict([report])["without_score"] == 0
    assert "submission.json cannot be read" in report.judgement.reason
    assert any("submission.json repaired" in each for each in report.judgement.missing)
    (tmp_path / "submission.json").write_text("{}")
    assert audit(tmp_path).gives_no_score
