"""Hints in the order of the text, scores by the documents' lengths, and training in between: no code at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
LINES = [
    "ngram_tilt:hints total=62021631 gated=628130 token_gate=628130",
    *(f"ttp: b{9 - n} bl:2.2 bb:1.1 dl:{9000 - n * 1000}-{9900 - n * 1000} gd:0" for n in range(2)),
    "ttpp: phase:1/1 pd:1424 gd:1000 t:234.7s",
    *(f"ttp: b{9 - n} bl:2.2 bb:1.1 dl:{9000 - n * 1000}-{9900 - n * 1000} gd:1" for n in range(2, 8)),
]


def _report(folder: Path, lines: str, *, script: str | None = None, behind: str = "") -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (folder / "train.log").write_text(f"{lines}\n{log(NATS, SP1024, label='quantized_ttt_phased')}{behind}\n")
    if script is not None:
        (folder / "hints.py").write_text(script)
    return audit(folder)


def test_two_orders_and_training_in_between(tmp_path: Path) -> None:
    report = _report(tmp_path, "\n".join(LINES), script="def hints(state, tokens):\n    return state.walk(tokens)\n")
    (found,) = report.with_code("BPB217")
    assert "train.log:1 counts 628,130 hints of one pass over 62,021,631 tokens" in found.message
    assert "(train.log:2 to line 10)" in found.message
    assert "(train.log:4)" in found.message
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)
    assert report.judgement.reason == found.message
    assert found.evidence["missing"] in report.judgement.missing


@pytest.mark.parametrize(
    "script",
    [
        "def hints(state, tokens):\n    for token in tokens:\n        if token == BOS_ID:\n            state.reset()\n",
        "state = State(reset_at_bos=True)\n",
        "for doc in docs:\n    counts.reset_tables()\n",
    ],
)
def test_counts_that_begin_anew_at_each_document(tmp_path: Path, script: str) -> None:
    report = _report(tmp_path, "\n".join(LINES), script=script)
    assert (report.with_code("BPB217"), report.verdict) == ([], "consistent")


@pytest.mark.parametrize("left_out", [0, 3])
def test_one_order(tmp_path: Path, left_out: int) -> None:
    report = _report(tmp_path, "\n".join(LINES[:left_out] + LINES[left_out + 1 :]))
    assert (report.with_code("BPB217"), report.verdict) == ([], "consistent")


def test_a_score_from_before_them(tmp_path: Path) -> None:
    report = _report(tmp_path, "", behind="\n".join(LINES))
    assert (report.with_code("BPB217"), report.verdict) == ([], "consistent")
