"""lm-evaluation-harness's file of results as a claim, and the perplexity per byte that gives its unit away."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import Verdict, audit

BPB = 0.821624453906537


def results(tmp_path: Path, **tasks: dict[str, Any]) -> Path:
    path = tmp_path / "results_2026-11-29T01-14-45.json"
    named = {name: {"alias": name, **metrics} for name, metrics in tasks.items()}
    path.write_text(json.dumps({"results": named, "configs": {}, "versions": {}, "n-shot": {}}))
    return path


def rolled(score: Any, perplexity: float | None = 2.0**BPB) -> dict[str, Any]:
    beside = {} if perplexity is None else {"byte_perplexity,none": perplexity}
    return {"bits_per_byte,none": score, "bits_per_byte_stderr,none": "N/A", **beside}


def test_a_score_in_bits_is_the_claim_and_what_is_missing_is_said(tmp_path: Path) -> None:
    report = audit(results(tmp_path, wikitext=rolled(BPB), piqa={"acc,none": 0.7}))
    assert (report.claimed_bpb, report.title) == (BPB, "wikitext")
    assert report.verdict is Verdict.UNVERIFIABLE
    assert [finding.severity.value for finding in report.with_code("BPB113")] == ["info"]
    assert not report.with_code("BPB107")


@pytest.mark.parametrize("digits", [None, 5, 3])
def test_a_logarithm_to_the_base_e_is_refuted_with_the_right_score(tmp_path: Path, digits: int | None) -> None:
    nats, perplexity = BPB * math.log(2), 2.0**BPB
    rounded = (nats, perplexity) if digits is None else (round(nats, digits), round(perplexity, digits))
    report = audit(results(tmp_path, wikitext=rolled(*rounded)))
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb == pytest.approx(BPB, rel=2e-3)
    (finding,) = report.with_code("BPB107")
    assert finding.factor == pytest.approx(1 / math.log(2))
    assert f"x {finding.factor:.5f} (1 / ln 2, from nats to bits: BPB107)" in str(report.judgement.corrected_from)


@pytest.mark.parametrize("perplexity", [2.0**BPB * 1.01, 1.0, 0.0, -2.0])
def test_numbers_that_contradict_each_other_are_named_and_refute_nothing(tmp_path: Path, perplexity: float) -> None:
    report = audit(results(tmp_path, wikitext=rolled(BPB, perplexity)))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert [finding.severity.value for finding in report.with_code("BPB113")] == ["warning"]


def test_a_score_alone_has_nothing_to_be_held_against(tmp_path: Path) -> None:
    report = audit(results(tmp_path, wikitext=rolled(BPB, None)))
    assert report.claimed_bpb == BPB
    assert not report.with_code("BPB113")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({"a": rolled(BPB), "b": rolled(1.0, 2.0)}, "bits_per_byte of 2 tasks: a, b"),
        ({"a": {"acc,none": 0.5}}, "gives no task's bits_per_byte"),
        ({"a": rolled("N/A")}, "bits_per_byte of a is no number"),
    ],
)
def test_what_claims_no_one_score_is_said(tmp_path: Path, tasks: dict[str, Any], said: str) -> None:
    report = audit(results(tmp_path, **tasks))
    assert report.claimed_bpb is None
    assert report.verdict is Verdict.UNVERIFIABLE
    assert said in report.to_text().replace("\n", " ").replace("           ", "")


def test_beside_a_submission_it_is_not_what_was_submitted(tmp_path: Path) -> None:
    results(tmp_path, wikitext=rolled(BPB))
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.25}')
    assert audit(tmp_path).claimed_bpb == 1.25
