"""Bytes per token that are a round number to all printed digits, or the constant of which the README speaks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from bpb_harness.auditing.checks import round_constants
from bpb_harness.auditing.checks.round_constants import _by_digits, constant_shown
from bpb_harness.auditing.evidence import gather, ratio_of_pair
from bpb_harness.claim import Claim, Printed, Source
from bpb_harness.rules import Rules
from bpb_harness.rules.choice import candidates_of
from bpb_harness.rules.denominators import Denominator
from fixtures.claims.patterns import SP1024, bpb, submission

LOADED = "val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"
NATS = 2.07269931


def _log(bytes_per_token: float, digits: int, steps: int = 0, readme_of_split: str = LOADED) -> str:
    losses = [*(NATS + 0.01 * (steps - step) for step in range(steps)), NATS]
    lines = [f"val_loss:{loss:.{digits}f} val_bpb:{bpb(loss, bytes_per_token):.{digits}f}" for loss in losses]
    lines[:-1] = [f"step:{step}/{steps} {line}" for step, line in enumerate(lines[:-1])]
    return readme_of_split + "\n".join([*lines[:-1], f"final_int8_zlib_roundtrip_exact {lines[-1]}"]) + "\n"


def _audit(folder: Path, bytes_per_token: float, digits: int, steps: int = 0, readme: str = "") -> AuditReport:
    (folder / "train.log").write_text(_log(bytes_per_token, digits, steps))
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, bytes_per_token), digits)))
    if readme:
        (folder / "README.md").write_text(f"# A model\n\n{readme}\n")
    return audit(folder)


@pytest.mark.parametrize(("constant", "digits"), [(2.44, 8), (2.43, 8), (2.5, 8), (2.44, 10), (3.0, 8)])
def test_a_round_constant_refutes_with_the_right_number(tmp_path: Path, constant: float, digits: int) -> None:
    report = _audit(tmp_path, constant, digits)
    assert report.verdict is Verdict.REFUTED
    (found,) = [finding for finding in report.findings if finding.code == "BPB103"]
    assert f"a constant, {constant:g} bytes per token" in found.message
    assert "2.43593" in found.message
    assert "once in" in found.message
    assert report.judgement.corrected_bpb == pytest.approx(bpb(NATS, SP1024), rel=1e-6)


def test_six_digits_are_a_doubt_which_several_lines_make_stronger(tmp_path: Path) -> None:
    chances = []
    for steps in (0, 60):
        report = _audit(tmp_path, 2.44, 6, steps=steps)
        assert report.verdict is Verdict.UNVERIFIABLE
        (found,) = [finding for finding in report.findings if finding.code == "BPB103"]
        chances.append(found.evidence["chance"])
    assert 1e-4 < 1.5 * chances[1] < chances[0] < 1e-3


@pytest.mark.parametrize(("ratio", "digits"), [(2.44, 4), (SP1024, 8), (2.4399, 8), (2.44001, 8), (2.4423, 8)])
def test_honest_numbers_and_few_digits_are_no_constant(tmp_path: Path, ratio: float, digits: int) -> None:
    report = _audit(tmp_path, ratio, digits, steps=3)
    assert report.verdict is (Verdict.CONSISTENT if ratio == SP1024 else Verdict.UNVERIFIABLE)
    assert {finding.code for finding in report.findings}.isdisjoint({"BPB103"} if ratio != SP1024 else {"BPB117"})


WORDS = [
    "We divide by a constant 2.5 bytes per token.",
    "Bits are divided by a constant of 2.5.",
    "The score uses a fixed 2.5 bytes per token.",
]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("digits", [4, 6])
def test_words_and_number_together_refute(tmp_path: Path, words: str, digits: int) -> None:
    report = _audit(tmp_path, 2.5, digits, readme=words)
    assert report.verdict is Verdict.REFUTED
    assert report.judgement.corrected_bpb == pytest.approx(bpb(NATS, SP1024), rel=1e-4)
    (found,) = [finding for finding in report.findings if finding.code == "BPB103"]
    assert "README.md:3 says" in found.message


@pytest.mark.parametrize(
    "words",
    [
        "We do not divide by a constant 2.5 bytes per token.",
        "Earlier entries divided by a constant 2.5 bytes per token.",
        "Logits are divided by a constant 2.5.",
        "We divide by a constant 3.5 bytes per token.",
        "A token has 2.5 bytes.",
    ],
)
def test_other_words_do_not(tmp_path: Path, words: str) -> None:
    assert _audit(tmp_path, 2.5, 4, readme=words).verdict is Verdict.UNVERIFIABLE


def test_an_honest_log_is_not_refuted_by_words_of_a_constant(tmp_path: Path) -> None:
    report = _audit(tmp_path, SP1024, 6, readme="We divide by a constant 2.44 bytes per token.")
    assert report.verdict is not Verdict.REFUTED


def test_a_round_row_of_the_table_is_the_reason_for_a_round_number() -> None:
    evidence = gather(
        Claim("x", tokenizer="sp1024", dataset="fineweb_val"), Rules.of(candidates_of("parameter-golf").packs[0])
    )
    pair = [Printed(round(x, 8), 8, Source("f", 1)) for x in (NATS, bpb(NATS, 2.44))]
    ratio = ratio_of_pair(*pair, same_estimator=True)
    assert ratio is not None
    rows = [Denominator("own", "sp1024", "full", 10**8, 244 * 10**6, 2.44)]
    assert constant_shown(evidence, ratio, []) is not None
    assert constant_shown(evidence, ratio, rows) is None


def test_false_alarms_are_as_rare_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 honest ratios at a chance of 2 to 5 % each: alarms within four standard errors of what they say."""
    monkeypatch.setattr(round_constants, "DOUBTED_BELOW", 1.0)
    draw = random.Random(7)
    evidence = gather(
        Claim("x", tokenizer="sp1024", dataset="fineweb_val"), Rules.of(candidates_of("parameter-golf").packs[0])
    )
    alarms, said = 0, []
    for _ in range(4000):
        loss, ratio = draw.uniform(1.5, 3.0), draw.uniform(2.0, 5.0)
        pair = [Printed(round(x, 4), 4, Source("f", 1)) for x in (loss, bpb(loss, ratio))]
        found = ratio_of_pair(*pair, same_estimator=True)
        assert found is not None
        shown = _by_digits(evidence, found)
        alarms += shown is not None
        said += [shown.chance] if shown is not None else []
    mean = sum(said) / len(said)
    assert alarms <= 4000 * mean + 4.0 * (4000 * mean) ** 0.5
    assert 0.01 < mean < 0.2
