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


def test_a_score_from_before_them_that_is_printed_once_more(tmp_path: Path) -> None:
    before = f"quantized val_loss:{NATS:.8f} val_bpb:{bpb(NATS, SP1024):.8f}\n"
    summary = f"\nsummary {before}"
    trained = log(NATS - 0.05, SP1024, label="quantized_ttt_phased")
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (tmp_path / "train.log").write_text(before + "\n".join(LINES) + f"\n{trained}{summary}")
    report = audit(tmp_path)
    assert (report.with_code("BPB217"), report.verdict) == ([], "consistent")


@pytest.mark.parametrize(
    "script",
    [
        "def hints(state, tokens):\n    for token in tokens:\n        if token == BOS_ID:\n            state.clear()\n",
        "def hints(state, tokens):\n    for token in tokens:\n        if token == 1:\n            self.reset()\n",
        "def hints(docs):\n    for doc in docs:\n        state = State()\n        yield state.walk(doc)\n",
        "for doc in docs:\n    lora.reset()\n    counts.reset_tables()\n",
    ],
)
def test_counts_that_begin_anew_by_other_words(tmp_path: Path, script: str) -> None:
    assert _report(tmp_path, "\n".join(LINES), script=script).with_code("BPB217") == []


@pytest.mark.parametrize(
    "script",
    [
        "def score(docs):\n    for doc in docs:\n        reset_lora(lora)\n        yield nll(doc)\n",
        "def score(docs):\n    for doc in docs:\n        optimizer.state.clear()\n        yield nll(doc)\n",
        "def score(docs):\n    for doc in docs:\n        timer.reset()\n        yield nll(doc)\n",
        "def score(docs):  # at each document hints.reset() would be too slow\n    return state.walk(docs)\n",
        "for doc in docs:\n    torch.cuda.reset_peak_memory_stats()\n",
        "boundary_lut = load()\nword_state = build(tokens)\n",
    ],
)
def test_what_else_begins_anew_at_each_document(tmp_path: Path, script: str) -> None:
    assert _report(tmp_path, "\n".join(LINES), script=script).with_code("BPB217")


@pytest.mark.parametrize(
    "line",
    ["ngram_tilt: disabled, no gain", "ngram_tilt:beta=0.0 applied=0", "hints: unused", "ngram_tilt: boost: 0"],
)
def test_hints_that_are_not_used(tmp_path: Path, line: str) -> None:
    report = _report(tmp_path, "\n".join([LINES[0], line, *LINES[1:]]))
    assert (report.with_code("BPB217"), report.verdict) == ([], "consistent")


@pytest.mark.parametrize("line", ["ngram_tilt:beta=0.05", "compile: disabled", "ngram_tilt: beta=1.0 gamma=0"])
def test_hints_beside_what_is_off(tmp_path: Path, line: str) -> None:
    assert _report(tmp_path, "\n".join([LINES[0], line, *LINES[1:]])).with_code("BPB217")


def test_hints_with_commas_are_counted_whole(tmp_path: Path) -> None:
    lines = LINES[0].replace("62021631", "62,021,631").replace("628130", "628,130")
    (found,) = _report(tmp_path, "\n".join([lines, *LINES[1:]])).with_code("BPB217")
    assert "train.log:1 counts 628,130 hints of one pass over 62,021,631 tokens" in found.message


def test_hints_of_the_training_text(tmp_path: Path) -> None:
    lines = LINES[0].replace("hints total", "train_hints total")
    assert _report(tmp_path, "\n".join([lines, *LINES[1:]])).with_code("BPB217") == []
