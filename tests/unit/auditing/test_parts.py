"""A constant number of bytes per token where a part of the text was scored: it is held against the part."""

from __future__ import annotations

from typing import Any

import pytest

from bpb_harness.auditing.evidence import Evidence, gather
from bpb_harness.auditing.parts import held_against_the_part, part_scored
from bpb_harness.auditing.script import codes as script_codes
from bpb_harness.auditing.verdict import judge, reconcile
from bpb_harness.claim import Claim, Printed, Source
from bpb_harness.findings import CODES, Finding, Severity
from tests.golf_rules import GOLF

assert script_codes
ROW = GOLF.table.full_split("sp1024")
assert ROW is not None
WHOLE, PREFIX = ROW.bytes_per_token, 2.40774


def _of(tokenizer: str | None = "sp1024") -> Evidence:
    score = Printed(1.2, 4, Source("f.json", key="val_bpb"), "val_bpb")
    return gather(Claim(name="x", score=score, claimed_in="submission", tokenizer=tokenizer), GOLF)


def _constant(constant: float, code: str = "BPB150") -> Finding:
    said = f"{constant} is what it divides by"
    return CODES[code].finding(said, factor=constant / WHOLE, constant=constant, expected=WHOLE, tokenizer="sp1024")


def _part(code: str = "BPB350", **evidence: Any) -> Finding:
    return CODES[code].finding(f"{code} it is", **{"limit": 500, "file": "train.py", "line": 7} | evidence)


def _held(constant: float, code: str = "BPB150", tokenizer: str | None = "sp1024", **part: Any) -> Finding:
    settled = reconcile([_constant(constant, code), _part(**part)], _of(tokenizer))
    return next(finding for finding in settled if finding.code == code)


@pytest.mark.parametrize("code", ["BPB150", "BPB103"])
def test_a_part_whose_bytes_are_known_decides(code: str) -> None:
    far = _held(4.3, code, num_tokens=1_024_000, is_first=True)
    assert far.severity is Severity.REFUTES
    assert far.factor == pytest.approx(4.3 / WHOLE)
    assert "a part of the text was scored (BPB350, train.py:7): by the 2.40774 that such a part has" in far.message
    assert "the score is 44.0 % too low (too good)" in far.message
    assert "43." not in far.message
    high = _held(2.2, code, num_tokens=1_024_000)
    assert f"{100 * (PREFIX / 2.2 - 1):.1f} % too high (worse than it is)" in high.message
    near = _held(2.41, code, num_tokens=1_024_000)
    assert (near.severity, near.factor) == (Severity.WARNS, None)
    assert "within 0.5 % of that" in near.message


@pytest.mark.parametrize(
    ("constant", "tokens", "severity"),
    [
        (WHOLE * 0.985, 409_600, Severity.WARNS),
        (WHOLE * 1.029, 30_000, Severity.WARNS),
        (WHOLE * 1.031, 30_000, Severity.REFUTES),
        (WHOLE * 1.031, 29_999, Severity.WARNS),
        (WHOLE * 0.86, 2_044, Severity.WARNS),
        (WHOLE * 1.16, 2_044, Severity.REFUTES),
        (WHOLE * 1.1, None, Severity.WARNS),
        (4.3, None, Severity.REFUTES),
    ],
)
def test_a_constant_refutes_only_beyond_what_parts_are_off(
    constant: float, tokens: int | None, severity: Severity
) -> None:
    found = _held(constant, num_tokens=tokens)
    assert found.severity is severity
    assert found.message.startswith(f"{constant} is what it divides by. But a part of the text was scored")
    assert ("the constant may be right for it" in found.message) is (severity is Severity.WARNS)
    assert ("no part is known to be that far off" in found.message) is (severity is Severity.REFUTES)
    assert (found.factor is None) is (severity is Severity.WARNS)


def test_without_a_part_the_whole_text_decides() -> None:
    for findings in ([_constant(WHOLE * 1.02)], [_constant(WHOLE * 1.02), CODES["BPB304"].finding("one seed")]):
        settled = reconcile(findings, _of())[0]
        assert (settled.factor, settled.severity) == (1.02, findings[0].severity)
        assert settled.message == f"{findings[0].message}. That this script printed the score, no log shows."
    assert part_scored(_of(), [CODES["BPB304"].finding("one seed")]) is None


def test_what_divides_by_the_whole_splits_number_scored_no_part() -> None:
    right = CODES["BPB101"].finding("right", bytes_per_token=WHOLE, expected=WHOLE, uncertainty=1e-6)
    found = reconcile([_constant(4.3), _part(num_tokens=1_024_000), right], _of())[0]
    assert "a part of the text was scored" not in found.message


def test_other_findings_and_doubts_stay_as_they_are() -> None:
    part = part_scored(_of(), [_part(num_tokens=1_024_000)])
    assert part is not None
    doubt = CODES["BPB150"].finding("near", severity=Severity.WARNS, constant=WHOLE, expected=WHOLE)
    nameless = CODES["BPB150"].finding("nothing names it", constant=4.3)
    for finding in (CODES["BPB102"].finding("a bug", factor=1.1), doubt, nameless):
        assert held_against_the_part(part, finding) is finding


@pytest.mark.parametrize(
    ("code", "evidence", "said"),
    [
        ("BPB301", {"scored_tokens": 4096}, "4,096 tokens (BPB301, train.py:7)"),
        ("BPB302", {"prefix_tokens": 1_048_576}, "about 1,048,576 tokens (BPB302, train.py:7)"),
        ("BPB303", {"scored_tokens": 4096}, "4,096 tokens (BPB303, train.py:7)"),
        ("BPB350", {"num_tokens": 4096}, "at most 4,096 tokens (BPB350, train.py:7)"),
        ("BPB350", {"num_tokens": 4096, "is_first": True}, "at most the first 4,096 tokens (BPB350, train.py:7)"),
        ("BPB350", {}, "how many tokens of it, nothing tells (BPB350, train.py:7)"),
        (
            "BPB301",
            {"file": None, "scored_tokens": 4096, "scored_by": "a.log loads no more"},
            "4,096 tokens (BPB301, a.log loads no more)",
        ),
        ("BPB301", {"file": None}, "how many tokens of it, nothing tells (BPB301)"),
    ],
)
def test_what_was_scored_is_told_with_its_source(code: str, evidence: dict[str, Any], said: str) -> None:
    part = part_scored(_of(), [_part(code, **evidence)])
    assert part is not None
    assert str(part) == said


def test_of_a_tokenizer_without_a_known_part_nothing_is_said_of_one() -> None:
    for tokenizer in ("sp8192", None):
        part = part_scored(_of(tokenizer), [_part(num_tokens=1_024_000)])
        assert part is not None
        assert (part.row, part.known) == (None, "")


def test_a_constant_that_may_be_right_refutes_nothing_but_is_mended_too() -> None:
    void = CODES["BPB257"].finding("cut", file="train.py", line=9)
    settled = reconcile([_constant(WHOLE * 1.02), _part(num_tokens=409_600), void], _of())
    judged = judge(_of(), settled, None)
    assert judged.rests_on == ("BPB257",)
    assert "with the bytes of the text in place of a constant" in judged.missing[0]
