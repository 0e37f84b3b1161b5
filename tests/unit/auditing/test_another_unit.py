"""A final score in another unit than the validations of its own log: named as that, not as a wonder of learning."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
LN2 = math.log(2.0)
RIGHT = bpb(NATS, SP1024)
LAST = bpb(NATS + 0.012, SP1024)  # of the last validation, as `log` writes it


def _report(folder: Path, score: float, line: str, *, tokenizer: str | None = "sp1024") -> AuditReport:
    head = log(NATS, SP1024, export=f"fineweb10B_{tokenizer or 'own'}").split("final_int8")[0]
    (folder / "train.log").write_text(f"{head}{line}\n")
    named = {} if tokenizer is None else {"tokenizer": tokenizer}
    (folder / "submission.json").write_text(submission(val_bpb=round(score, 8), **named))
    return audit(folder)


@pytest.mark.parametrize(
    ("score", "code", "said"),
    [
        (RIGHT * LN2, "BPB107", "the score is in nats per byte"),
        (RIGHT / LN2, "BPB107", "the loss was divided by ln 2 twice"),
        (NATS / LN2, "BPB108", "the score is in bits per token"),
        (NATS, "BPB108", "the score is the loss itself"),
        (math.exp(NATS), "BPB108", "e to the power of the loss"),
    ],
    ids=["nats", "twice", "bits per token", "loss", "exponential"],
)
def test_beside_its_loss_it_is_refuted_and_set_right(tmp_path: Path, score: float, code: str, said: str) -> None:
    report = _report(tmp_path, score, f"final_exact val_loss:{NATS:.8f} val_bpb:{score:.8f}")
    assert report.verdict == "refuted"
    (found,) = report.with_code(code)
    assert said in found.message
    assert report.corrected_bpb == pytest.approx(RIGHT, rel=1e-5)
    assert report.with_code("BPB104") == report.with_code("BPB414") == []


@pytest.mark.parametrize(
    ("loss", "score"),
    [
        (NATS / LN2, RIGHT),  # the loss is in another unit
        (NATS * LN2, RIGHT),
        (NATS, RIGHT * 0.72),
        (NATS, RIGHT * 1.2),
    ],
    ids=["loss in bits", "loss in less", "no unit below", "no unit above"],
)
def test_what_may_be_the_loss_or_no_unit_refutes_nothing(tmp_path: Path, loss: float, score: float) -> None:
    report = _report(tmp_path, score, f"final_exact val_loss:{loss:.8f} val_bpb:{score:.8f}")
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("score", "code", "said"),
    [
        (LAST * LN2 * 1.004, "BPB107", "the nats per byte of the last validation"),
        (LAST / LN2 * 0.996, "BPB107", "divided by ln 2 once more"),
        (NATS, "BPB108", "the loss in nats per token"),
        (NATS / LN2, "BPB108", "the bits per token"),
        (math.exp(NATS + 0.012), "BPB108", "the perplexity per token"),
    ],
    ids=["nats", "twice", "loss", "bits per token", "exponential"],
)
def test_without_its_loss_it_is_a_doubt(tmp_path: Path, score: float, code: str, said: str) -> None:
    report = _report(tmp_path, score, f"final val_bpb:{score:.8f}")
    assert report.verdict == "unverifiable"
    (found,) = report.with_code(code)
    assert said in found.message
    assert "(1.2101 at train.log:7)" in found.message


@pytest.mark.parametrize("factor", [1.0, LN2 * 1.02, 0.72, 1.1])
def test_other_scores_without_a_loss_are_in_no_other_unit(tmp_path: Path, factor: float) -> None:
    report = _report(tmp_path, LAST * factor, f"final val_bpb:{LAST * factor:.8f}")
    assert report.with_code("BPB107") == report.with_code("BPB108") == []


def test_a_validation_is_held_against_no_validation(tmp_path: Path) -> None:
    report = _report(tmp_path, LAST * LN2, f"step:8001/8001 val_bpb:{LAST * LN2:.8f}")
    assert report.with_code("BPB107") == []
