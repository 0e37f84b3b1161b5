"""Logs of which the record says that somebody put them together, and logs that say of themselves that they are cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.findings import Severity
from fixtures.claims.patterns import SP1024, bpb, log, submission


def _report(folder: Path, readme: str = "# A run\n", lines: str = "", *, second: bool = False) -> AuditReport:
    scores = [bpb(nats, SP1024) for nats in ((2.0312, 2.0322) if second else (2.0312,))]
    (folder / "submission.json").write_text(submission(val_bpb=round(sum(scores) / len(scores), 8)))
    (folder / "train.log").write_text(lines + log(2.0312, SP1024))
    if second:
        (folder / "other.log").write_text(log(2.0322, SP1024, seed=7))
    (folder / "README.md").write_text(readme)
    return audit(folder)


@pytest.mark.parametrize(
    "sentence",
    [
        "**Note:** `train.log` was reconstructed from real-time SSH monitoring of the training run.",
        "train.log has been transcribed by hand, for the pod is gone.",
        "Files:\n\n- `train.log` - training log (reconstructed from real-time monitoring)",
        "The training log was retyped from a screenshot.",
    ],
)
def test_a_log_that_the_readme_says_was_put_together_is_a_doubt(tmp_path: Path, sentence: str) -> None:
    report = _report(tmp_path, f"# A run\n\n{sentence}\n")
    (found,) = report.with_code("BPB426")
    line = 5 if "Files" in sentence else 3
    assert found.message.startswith(f"README.md:{line} says that train.log, the log of the score, is no run's own: ")
    assert found.severity is Severity.WARNS
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "sentence",
    [
        "The launch command was reconstructed from train.log.",
        "`train.log` shows weights that were reconstructed from a seed.",
        "`old.log` was reconstructed from monitoring.",
        "train.log was not reconstructed: it is what the run printed.",
        "The training log was written by the script.",
        "The network is reconstructed from train.log and the seed.",
        "No training log was reconstructed or edited.",
        "Previously train.log was reconstructed from monitoring.",
        "train.log was reconstructed from monitoring in a first version, and is replaced by the run's own.",
        "If the training log was reconstructed, it would say so.",
    ],
)
def test_what_else_was_reconstructed_is_none(tmp_path: Path, sentence: str) -> None:
    assert not _report(tmp_path, f"# A run\n\n{sentence}\n").with_code("BPB426")


def test_where_another_log_of_the_score_is_the_runs_own_nothing_is_said(tmp_path: Path) -> None:
    assert not _report(tmp_path, "`train.log` was reconstructed from monitoring.\n", second=True).with_code("BPB426")


@pytest.mark.parametrize(
    "line",
    [
        "[... warmup steps 3-19 ...]",
        "(... 200 lines left out)",
        "Raw H100 log excerpt pasted from RunPod.",
        "# Sanitized run excerpt",
        "Additional seed results (training logs omitted for brevity)",
        "# NOTE: Log truncated during the last evaluation (pod terminated).",
        "Hyperparameters printed at startup (abridged):",
    ],
)
def test_a_log_that_says_that_it_is_not_whole_is_a_remark(tmp_path: Path, line: str) -> None:
    report = _report(tmp_path, lines=f"a first line\n{line}\n")
    (found,) = report.with_code("BPB426")
    assert found.message == f"train.log says of itself that it is not whole: {line!r} (train.log:2)"
    assert found.severity is Severity.INFORMS
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    "line",
    [
        "... worker 9 done 768,441 docs",
        "sample 3: in this excerpt the author runs to the log cabin, and what follows there is told below",
        "WARNING truncated_validation tokens:32768",
        "[1, 2, ..., 9]",
        "x = [... for run in log]  # excerpt",
    ],
)
def test_what_runs_print_says_nothing(tmp_path: Path, line: str) -> None:
    assert not _report(tmp_path, lines=f"{line}\n").with_code("BPB426")


def test_a_table_that_was_written_out_of_runs_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.20341}')
    (tmp_path / "results.tsv").write_text("run\tval_bpb\na\t1.20341\nb\t1.21341\n")
    (tmp_path / "README.md").write_text("`results.tsv` is transcribed from the runs' folders.\n")
    report = audit(tmp_path)
    assert report.with_code("BPB401")
    assert not report.with_code("BPB426")


def test_of_several_lines_that_may_say_so_the_first_that_does_is_quoted(tmp_path: Path) -> None:
    lines = "excerpt 1\nloading [... excerpt\n\nsteps (\n...\n[... steps left out]\n(... and more)\n"
    (found,) = _report(tmp_path, lines=lines).with_code("BPB426")
    assert found.message.endswith("'[... steps left out]' (train.log:6)")
