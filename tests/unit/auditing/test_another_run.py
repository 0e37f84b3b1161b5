"""A README that gives the claimed score for another network or training than the log that prints it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

SCORE = round(bpb(2.0312, SP1024), 8)
TOLD = (
    "tie_embeddings:True matrix_lr:0.04 scalar_lr:0.04\ntrain_batch_tokens:524288 train_seq_len:1024 iterations:20000\n"
)
OF_THE_SCORE = f"val_bpb: {SCORE}\n\n"


def _report(folder: Path, readme: str, told: str = TOLD, text: str | None = None) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=SCORE, tokenizer="sp1024"))
    (folder / "train.log").write_text(told + (text or log(2.0312, SP1024)))
    (folder / "README.md").write_text(f"# A run\n\n{readme}")
    return audit(folder)


def _table(*rows: str) -> str:
    return "| Parameter | Value |\n|---|---|\n" + "".join(f"| {row} |\n" for row in rows)


@pytest.mark.parametrize(
    "stated",
    [
        "- Batching: `TRAIN_BATCH_TOKENS=524288 TRAIN_SEQ_LEN=2048`\n",
        "```\nTRAIN_SEQ_LEN=2048 torchrun train.py\n```\n",
        _table("train_seq_len | 4096", "iterations | 13137"),
        _table("matrix_lr | 0.06", "scalar_lr | 0.06"),
        _table("train_batch_tokens | 786,432", "scalar_lr | 0.06"),
    ],
    ids=["a list", "a command", "a table", "two of the training", "a batch and a rate"],
)
def test_another_run_is_a_doubt(tmp_path: Path, stated: str) -> None:
    report = _report(tmp_path, OF_THE_SCORE + stated)
    assert len(report.with_code("BPB451")) == 1
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "readme",
    [
        OF_THE_SCORE + _table("train_seq_len | 1024", "matrix_lr | 0.04"),
        OF_THE_SCORE + _table("matrix_lr | 0.06"),  # one rate may be a slip
        OF_THE_SCORE + _table("iterations | 9000", "max_wallclock_seconds | 590", "train_log_every | 50"),
        OF_THE_SCORE + _table("eval_seq_len | 2048", "val_batch_tokens | 4096"),
        "val_bpb: 1.1911\n\n" + _table("train_seq_len | 4096"),  # of another score
        f"val_bpb: {SCORE:.3f}\n\n" + _table("train_seq_len | 4096"),  # of one that may be another
        OF_THE_SCORE + "## Baseline\n\n" + _table("train_seq_len | 4096"),
        OF_THE_SCORE + "## Colab\n\n" + _table("train_seq_len | 4096"),
        _table("train_seq_len | 4096") + "\n## A longer run\n\n" + OF_THE_SCORE,
        OF_THE_SCORE + _table("train_seq_len | 4096") + "\nThe first phase had `TRAIN_SEQ_LEN=1024`.\n",
        OF_THE_SCORE + "```\nTRAIN_SEQ_LEN=4096 python train.py\nTRAIN_SEQ_LEN=1024 python train.py\n```\n",
    ],
    ids=[
        "the same", "one rate", "a clock", "an evaluation", "another score", "three decimals", "the baseline's",
        "another machine's", "the score of another run",
        "both lengths", "two commands",
    ],
)  # fmt: skip
def test_the_honest_neighbours(tmp_path: Path, readme: str) -> None:
    report = _report(tmp_path, readme)
    assert report.with_code("BPB451") == []
    assert report.verdict == "consistent", report.judgement.reason


@pytest.mark.parametrize(
    ("told", "is_found"),
    [
        ("model_params:1 layers:9 dim:512 heads:8\n", True),
        ("num_layers: 9\n", True),
        ("num_layers: 10\n", False),
        ("num_layers: 9\nphysical_layers: 10\n", False),  # two things that layers may be
        ("gptq:done layers=9 time:3s\n", False),
    ],
)
def test_the_network_in_words(tmp_path: Path, told: str, is_found: bool) -> None:
    readme = f"{OF_THE_SCORE}## Config\n\n- 10 layers, 512 dim, 8 heads\n"
    assert bool(_report(tmp_path, readme, told).with_code("BPB451")) is is_found
    assert _report(tmp_path, f"{readme}\nOf these 9 layers are trained.\n", told).with_code("BPB451") == []


def test_switches_count_with_what_else_differs(tmp_path: Path) -> None:
    command = "```\nMIN_LR=0.1 GATE_ENABLED=1 torchrun train.py\n```\n"
    found = _report(tmp_path, OF_THE_SCORE + command, "  min_lr: 0.0\n  gate_enabled: False\n").with_code("BPB451")
    assert len(found) == 1
    beside = OF_THE_SCORE + command + "\n| | theirs | ours |\n|---|---|---|\n| MIN_LR | 0.0 | 0.1 |\n"
    assert len(_report(tmp_path, beside, "  min_lr: 0.0\n  gate_enabled: False\n").with_code("BPB451")) == 1
    assert _report(tmp_path, OF_THE_SCORE + command, "  min_lr: 0.1\n  gate_enabled: False\n").with_code("BPB451") == []


def test_a_log_of_an_evaluation_alone_tells_nothing_of_the_training(tmp_path: Path) -> None:
    lines = [line for line in log(2.0312, SP1024).split("\n") if not line.startswith("step:")]
    report = _report(tmp_path, OF_THE_SCORE + _table("train_seq_len | 4096"), text="\n".join(lines))
    assert report.with_code("BPB451") == []


def test_it_names_both_lines(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, OF_THE_SCORE + _table("train_seq_len | 4096", "matrix_lr | 0.06")).with_code("BPB451")
    assert found.message == (
        "README.md gives the claimed score with `train_seq_len 4096` (line 7) and `matrix_lr 0.06` (line 8), and the "
        "log that prints it tells `train_seq_len:1024` (train.log:2) and `matrix_lr:0.04` (train.log:1): by the "
        "record's own words the score is of other settings than those that the README describes"
    )
