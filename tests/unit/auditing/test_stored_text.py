"""Tokens that a log says are stored beside the network cost nothing in its scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
STORED = "paid_prefix_file:prefix.xz paid_prefix_tokens:1040297 paid_prefix_bytes:768000\n"


def _report(folder: Path, *, before: str = "", behind: str = "", label: str = "final_exact") -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (folder / "train.log").write_text(f"{before}{log(NATS, SP1024, label=label)}{behind}\n")
    return audit(folder)


def test_tokens_that_are_stored_are_not_paid_in_the_score(tmp_path: Path) -> None:
    report = _report(tmp_path, before=STORED)
    (found,) = report.with_code("BPB218")
    score = round(bpb(NATS, SP1024), 8)
    assert "train.log:1 says that 1,040,297 tokens are stored beside the network" in found.message
    assert "1.68% of its tokens" in found.message
    bound = score + 8 * 768_000 / 151_080_891
    assert found.evidence["with_stored_bytes"] == pytest.approx(bound)
    assert f"it is {bound:.4f} bits per byte" in found.message
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)
    assert "nothing of it stored" in report.to_text().replace("\n", " ")


def test_what_the_stored_tokens_take_up_need_not_be_told(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, before="paid_prefix_tokens:1040297\n").with_code("BPB218")
    assert found.evidence["with_stored_bytes"] is None
    assert "bits per byte" not in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {"before": STORED.replace("1040297", "0")},
        {"before": "stored prefix of 512 tokens\n"},  # of a cache
        {"before": "stored val tokens: 62021846\n"},  # the whole split, in memory
        {"behind": STORED},  # of a score that is printed later
        {"before": STORED, "label": "final_unpaid_exact"},
        {"before": STORED, "label": "final_no_prefix"},
        {"before": STORED.replace("paid_prefix_", "ttt_prefix_")},
    ],
)
def test_scores_that_nothing_stored_is_part_of(tmp_path: Path, changes: dict[str, str]) -> None:
    report = _report(tmp_path, **changes)
    assert report.with_code("BPB218") == []
    assert report.verdict == "consistent"
