"""Which files of a folder are read: logs at some depth, other submissions left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.claim import find_submissions, read_claim
from bpb_harness.errors import ClaimError
from fixtures.claims.patterns import SP1024, log, submission


def _record(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=1.202991))


@pytest.mark.parametrize("below", ["logs", "runs/seed_7", "out/a/b", "out/a/b/c"])
def test_logs_are_found_some_folders_down(tmp_path: Path, below: str) -> None:
    _record(tmp_path)
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "train.log").write_text(log(2.0312, SP1024))
    assert audit(tmp_path).verdict == "confirmed"


def test_deeper_logs_are_not_and_the_report_says_where_it_looked(tmp_path: Path) -> None:
    _record(tmp_path)
    (tmp_path / "a/b/c/d/e").mkdir(parents=True)
    (tmp_path / "a/b/c/d/e/train.log").write_text(log(2.0312, SP1024))
    (missing,) = audit(tmp_path).with_code("BPB402")
    assert "4 folders" in missing.message


def test_the_logs_of_a_submission_further_down_are_its_own(tmp_path: Path) -> None:
    _record(tmp_path)
    _record(tmp_path / "older" / "attempt")
    (tmp_path / "older" / "attempt" / "train.log").write_text(log(2.5, SP1024))
    assert not read_claim(tmp_path).logs
    assert find_submissions(tmp_path) == [tmp_path]


def test_logs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    _record(tmp_path)
    for run in ("x/seed_1", "y/seed_1", "y/seed_2"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "train.log").write_text(log(2.0312, SP1024, seed=1))
    names = {record.file for record in read_claim(tmp_path).logs}
    assert names == {"x/seed_1/train.log", "y/seed_1/train.log", "seed_2/train.log"}


def test_folders_of_logs_without_a_record_are_not_one_claim(tmp_path: Path) -> None:
    for run in ("one/logs", "two/logs"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "train.log").write_text(log(2.0312, SP1024))
    with pytest.raises(ClaimError, match="--recursive"):
        read_claim(tmp_path)
