"""A search that ended in an error has printed candidates, and no score of its run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
SEARCHED = "temp_search: temp=0.85 val_bpb=1.2034\ntemp_search: temp=0.90 val_bpb=1.2034\n"
ENDED = "Received 15 death signal\nTraceback (most recent call last):\n"


def _report(folder: Path, behind: str) -> AuditReport:
    text = log(NATS, SP1024)
    until = next(at for at, line in enumerate(text.split("\n")) if line.startswith("final"))
    (folder / "train.log").write_text("\n".join(text.split("\n")[:until]) + f"\n{behind}")
    return audit(folder)


def test_a_candidate_is_no_score_of_a_run_that_was_cut_short(tmp_path: Path) -> None:
    report = _report(tmp_path, SEARCHED + ENDED)
    (found,) = report.with_code("BPB429")
    at = found.evidence["ended_at"]
    assert f"'temp_search: temp=0.90', and the run ends in an error in line {at}" in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "behind",
    [
        SEARCHED,  # it may be all that there is
        SEARCHED + "final val_loss:2.0312 val_bpb:1.2030\n" + ENDED,
        SEARCHED.replace("temp_search: temp=", "final temp=") + ENDED,
        SEARCHED.replace("temp_search: temp=", 'RESULT {"candidate": 1, "temp": ') + ENDED,
        ENDED + SEARCHED,
    ],
    ids=["no error", "a score behind it", "another name", "of a file", "an error before"],
)
def test_logs_that_came_to_a_score(tmp_path: Path, behind: str) -> None:
    assert _report(tmp_path, behind).with_code("BPB429") == []


def test_a_score_that_is_claimed_beside_the_log_is_no_matter_of_its_end(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.2034))
    assert _report(tmp_path, SEARCHED + ENDED).with_code("BPB429") == []
    assert bpb(NATS, SP1024) < 1.21
