"""What is stated about an estimator: its weight, its method, its table over T, two estimators side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from bpb_harness.errors import ClaimError
from fixtures.claims.patterns import SP1024, SP1024_TOKENS, bpb


def claimed(folder: Path, **keys: Any) -> AuditReport:
    path = folder / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", **keys}))
    return audit(path)


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


def two_estimators(folder: Path, rise: float, *, tokens: int | None = SP1024_TOKENS, steps: int = 32) -> AuditReport:
    """A log that holds a Monte-Carlo loss beside a T-step score, whose gap implies a rise of f in bits."""
    loss = 2.6553096
    score = bpb(loss + rise / (2 * steps) * math.log(2.0), SP1024)
    loaded = f"val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:{tokens}\n" if tokens else ""
    (folder / "train.log").write_text(
        f"val_var_bpb:enabled tokenizer_path=./data/tokenizers/fineweb_1024_bpe.model var_eval_steps:{steps}\n{loaded}"
        f"seed:1337\nfinal_exact val_loss:{loss:.8f} val_var_bpb:{score:.8f}\n"
    )
    (folder / "submission.json").write_text(f'{{"val_loss": {loss:.8f}, "val_var_bpb": {score:.8f}}}')
    return audit(folder)


@pytest.mark.parametrize(
    ("rise", "verdict"),
    [(0.4, "unverifiable"), (2.9, "unverifiable"), (3.1, "consistent"), (8.2, "consistent"), (10.2, "unverifiable")],
)
def test_the_gap_of_two_estimators_must_be_plausible(tmp_path: Path, rise: float, verdict: str) -> None:
    assert two_estimators(tmp_path, rise).verdict.value == verdict


def test_a_plausible_gap_alone_is_no_evidence(tmp_path: Path) -> None:
    # Nothing says that the whole split was scored: what the bits were divided by is open.
    report = two_estimators(tmp_path, 8.2, tokens=None)
    assert report.verdict is Verdict.UNVERIFIABLE
    (finding,) = report.with_code("BPB206")
    assert finding.severity.value == "info"
    assert "By their names they are two estimates" in finding.message
    assert "The other explanation: one estimate, of a part of the text with " in finding.message
    assert any("how many tokens" in item for item in report.judgement.missing)


def test_a_split_of_another_size_is_no_evidence(tmp_path: Path) -> None:
    assert two_estimators(tmp_path, 8.2, tokens=SP1024_TOKENS - 1).verdict is Verdict.UNVERIFIABLE


def test_the_evidence_for_two_estimators_is_named(tmp_path: Path) -> None:
    reason = two_estimators(tmp_path, 8.2).judgement.reason
    assert "with which their gap is compatible" in reason
    assert "whole split" in reason
    assert "the log prints the score" in reason


@pytest.mark.parametrize(
    ("keys", "severity"),
    [
        ({"weight": "1/(1-t)", "method": "mc"}, "warning"),
        ({"weight": "1 / (1 - t)", "method": "mc", "schedule_eps": 0.001}, "error"),
        ({"weight": "1/(1-t)", "method": "discrete", "schedule": "loglinear[0.001]"}, "error"),
        ({"weight": "1/(1-t)", "schedule": "cosine"}, "warning"),
        ({"weight": "dsigma", "method": "mc"}, "error"),
        ({"weight": "1/(1-u)"}, "error"),
        ({"weight": "1/t", "method": "mc", "schedule_eps": 0.001}, None),
        ({"weight": "dsigma/expm1(sigma)", "method": "mc"}, None),
        ({"weight": "1/(1-t)", "method": "ar"}, None),
    ],
)
def test_a_stated_weight(tmp_path: Path, keys: dict[str, Any], severity: str | None) -> None:
    report = claimed(tmp_path, claimed_bpb=1.5, **keys)
    assert [finding.severity.value for finding in report.with_code("BPB212")] == ([severity] if severity else [])
    assert report.verdict is (Verdict.REFUTED if severity == "error" else Verdict.UNVERIFIABLE)
    assert report.corrected_bpb is None


@pytest.mark.parametrize("method", ["nelbo", "monte carlo", "", 3, "discrete "])
def test_an_unknown_method_is_an_error(tmp_path: Path, method: Any) -> None:
    if method == "discrete ":
        assert claimed(tmp_path, claimed_bpb=1.5, method=method).verdict is Verdict.UNVERIFIABLE
        return
    with pytest.raises(ClaimError, match=r"method.*one of discrete, mc"):
        claimed(tmp_path, claimed_bpb=1.5, method=method)


@pytest.mark.parametrize(
    ("table", "tokenizer", "code"),
    [
        ({"64": 1.9, "128": 1.5}, None, "BPB208"),
        ({"64": 1.9, "128": 1.5}, "sp32000", "BPB208"),
        ({"64": 1.1571, "128": 1.1508, "256": 1.1482, "512": 1.1465}, None, "BPB209"),
        # 20 bits per token at 5 bytes per token; at 2 it is 8, which is possible.
        ({"64": 1.5 + 2.0 / 64, "256": 1.5 + 2.0 / 256}, None, "BPB209"),
        # Steep by rounding alone.
        ({"64": 1.3, "128": 1.2}, None, "BPB209"),
    ],
)
def test_a_table_over_steps_without_known_bytes(
    tmp_path: Path, table: dict[str, float], tokenizer: str | None, code: str
) -> None:
    keys = {"tokenizer": tokenizer} if tokenizer else {}
    report = claimed(tmp_path, claimed_bpb=1.5, steps_table=table, **keys)
    assert codes(report) & {"BPB208", "BPB209"} == {code}
    assert report.verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("keys", "severity"),
    [
        ({"method": "mc"}, "error"),
        ({"method": "discrete"}, "error"),
        ({"method": "exact"}, "error"),
        ({"weight": "1/t"}, "error"),
        ({"weight": "dsigma/expm1(sigma)", "method": "mc"}, "error"),
        ({"weight": "none", "method": "mc"}, None),  # what each step reveals, priced jointly: a bound
        ({"weight": " None "}, None),
        ({"method": "chain"}, None),
        ({"method": "ar", "weight": "1/t"}, None),
        ({}, "warning"),
    ],
)
def test_a_joint_price_is_no_bound_under_the_weight_of_single_tokens(
    tmp_path: Path, keys: dict[str, str], severity: str | None
) -> None:
    report = claimed(tmp_path, claimed_bpb=1.2, priced_jointly="masked sub-tokens", **keys)
    found = report.with_code("BPB214")
    assert [finding.severity.value for finding in found] == ([severity] if severity else [])
    assert (report.verdict is Verdict.REFUTED) is (severity == "error")
    if severity == "warning":
        assert report.judgement.reason == found[0].message
        assert any(item.startswith("the weight of the joint price") for item in report.judgement.missing)
    assert "BPB214" not in codes(claimed(tmp_path, claimed_bpb=1.2, **keys))


def test_a_perplexity_without_bytes_is_a_claim(tmp_path: Path) -> None:
    report = claimed(tmp_path, claimed_perplexity=17.54, method="ar")
    assert report.verdict is Verdict.UNVERIFIABLE
    assert report.claimed_bpb is None
    assert "BPB409" not in codes(report)
    assert "a perplexity of 17.54 per token" in report.to_text()
    assert "a perplexity of 17.54 per token" in report.to_markdown()
    assert report.judgement.missing == ("the bytes per token of the text under its tokenizer",)


def test_a_perplexity_of_a_joint_price_is_refuted(tmp_path: Path) -> None:
    report = claimed(tmp_path, claimed_perplexity=7.77, method="mc", priced_jointly="the bits of a token's index")
    assert report.verdict is Verdict.REFUTED
    assert report.judgement.corrected_from == "none: BPB214 (joint-price) gives no number in its place"
    assert "None" not in report.to_markdown()
