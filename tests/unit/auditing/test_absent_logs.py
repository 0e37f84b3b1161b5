"""Logs of further seeds that a README names, and that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

LOSSES = {42: 2.0312, 314: 2.0372}


def _report(folder: Path, readme: str) -> AuditReport:
    for seed, nats in LOSSES.items():
        (folder / f"train_seed{seed}.log").write_text(log(nats, SP1024, seed=seed))
    mean = sum(bpb(nats, SP1024) for nats in LOSSES.values()) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    (folder / "README.md").write_text(f"# A run\n\n{readme}\n")
    return audit(folder)


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("`train_seed1234.log` is an un-reported run.", "train_seed1234.log too (line 3), which is not there"),
        (
            "- `train_seed42.log`\n- logs/train_seed1.log\n- `train_seed2.log`",
            "train_seed1.log, train_seed2.log too (line 4), which are not there",
        ),
    ],
)
def test_logs_that_are_named_and_not_there(tmp_path: Path, readme: str, said: str) -> None:
    report = _report(tmp_path, readme)
    (found,) = report.with_code("BPB401")
    assert found.message.endswith(f"; README.md names {said}")
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    "readme",
    [
        "`train_seed42.log` and train_seed314.log.",
        "`eval_seed1.log` is of another evaluation.",
        "`train_seed$SEED.log`, `train_seed*.log`, `train_seed{1,2}.log`",
        "train_seed1.log.gz, train_seed1.logs",
        "https://example.org/train_seed1.log, records/another/train_seed1.log",
        "PR #12 has train_seed1.log.",
        "A log is called after its seed, e.g. train_seed1.log.",
    ],
    ids=["there", "another name", "patterns", "other files", "elsewhere", "another record's", "an example"],
)
def test_no_log_is_missed(tmp_path: Path, readme: str) -> None:
    assert "not there" not in _report(tmp_path, readme).with_code("BPB401")[0].message


@pytest.mark.parametrize("name", ["train_seed7.log", "train_seed7.log.xz", "old/deep/er/and/deeper/train_seed7.log"])
def test_a_log_that_lies_there_unread_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("a line\n")
    assert "not there" not in _report(tmp_path, "See train_seed7.log.").with_code("BPB401")[0].message
