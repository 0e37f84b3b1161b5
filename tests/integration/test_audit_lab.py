"""What real submissions published: the verdicts that the facts about them demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import audit, audit_folders
from bpb_harness.auditing.script.running import run_scoring
from fixtures.claims.build import HERE

pytestmark = pytest.mark.lab

EXPECTED = {
    "naive_baseline": ("consistent", 1.2243657, None, {"BPB101"}),
    "pr0144": ("consistent", 1.35172182, None, {"BPB101", "BPB405"}),
    "pr0345": ("unverifiable", 1.85221128, None, {"BPB902", "BPB302"}),
    "pr0549": ("consistent", 1.1194, None, {"BPB101"}),
    "pr0820": ("consistent", 1.6251998, None, {"BPB206"}),
    "pr0905": ("unverifiable", 1.85873462, None, {"BPB301", "BPB410"}),
    "pr1106": ("unverifiable", 1.1465, None, {"BPB402"}),
    "pr1493": ("consistent", 1.081, None, {"BPB101"}),
    "pr1632": ("unverifiable", 1.0274, None, {"BPB106"}),
    "pr1698": ("refuted", 1.00995, 1.1888, {"BPB102", "BPB501"}),
    "pr1699": ("consistent", 1.48306, None, {"BPB101", "BPB303"}),
    "pr1964": ("unverifiable", None, None, {"BPB409", "BPB903"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_published(lab: Path, name: str) -> None:
    verdict, claimed, corrected, codes = EXPECTED[name]
    report = audit(lab / "claims" / name)
    assert report.verdict.value == verdict, report.to_text()
    assert report.claimed_bpb == claimed
    assert report.corrected_bpb == (None if corrected is None else pytest.approx(corrected, abs=6e-5))
    assert codes <= {finding.code for finding in report.findings}


def test_all_of_them_at_once(lab: Path) -> None:
    reports = {report.name: report.verdict.value for report in audit_folders(lab / "claims")}
    assert reports == {name: expected[0] for name, expected in EXPECTED.items()}


def test_the_space_counted_twice_is_named_with_its_factor(lab: Path) -> None:
    (finding,) = audit(lab / "claims/pr1698").with_code("BPB102")
    assert finding.factor == pytest.approx(1.17704, abs=1e-5)
    assert finding.evidence["bug"] == "space_twice_pieces_by_spelling"
    assert "sp8192 is inferred" in finding.message


def test_the_faulty_logs_are_named(lab: Path) -> None:
    (finding,) = audit(lab / "claims/pr0144").with_code("BPB405")
    assert finding.evidence["files"] == [
        "mpk_seed_1338.txt", "mpk_seed_1339.txt", "mpk_seed_1340_clean.txt", "mpk_seed_1341_clean.txt", "train.log",
    ]  # fmt: skip


def test_the_old_claim_of_a_log(lab: Path) -> None:
    report = audit(lab / "claims/pr0144/train.log")
    assert report.verdict.value == "refuted"
    assert report.claimed_bpb == 1.01558307
    assert report.corrected_bpb == pytest.approx(1.3551, abs=5e-5)
    assert report.with_code("BPB102")[0].evidence["bug"] == "question_mark_for_space"


def test_a_constant_stated_beside_the_record(lab: Path) -> None:
    report = audit([lab / "claims/pr1106/submission.json", HERE / "facts/pr1106.claim.json"])
    assert report.verdict.value == "refuted"
    assert report.corrected_bpb == pytest.approx(2.0238, abs=5e-5)
    assert "2.0475" in str(report.judgement.corrected_from)


def test_a_constant_in_a_script_beside_the_record(lab: Path) -> None:
    script = HERE / "submissions/wrong_script_constant/train_mdlm.py"
    report = audit([lab / "claims/pr1106/submission.json", script])
    assert report.verdict.value == "refuted"
    assert report.corrected_bpb == pytest.approx(2.0238, abs=5e-5)
    assert "2.0475" in str(report.judgement.corrected_from)


def test_a_space_counted_twice_in_a_script_beside_the_record(lab: Path) -> None:
    script = HERE / "submissions/wrong_script_space_twice/train.py"
    report = audit([lab / "claims/pr1632", script])
    assert report.verdict.value == "refuted"
    assert report.with_code("BPB151")


def test_the_two_estimators_are_explained(lab: Path) -> None:
    (finding,) = audit(lab / "claims/pr0820").with_code("BPB206")
    assert finding.evidence["implied_ratio"] == pytest.approx(2.357, abs=5e-4)
    assert "By their names they are two estimates" in finding.message


@pytest.mark.parametrize("forged", ["1.57520000", "1.64520000"])
def test_a_forged_gap_of_two_estimators_is_not_confirmed(lab: Path, tmp_path: Path, forged: str) -> None:
    for name in ("submission.json", "train.log"):
        text = (lab / "claims/pr0820" / name).read_text()
        (tmp_path / name).write_text(text.replace("1.62519980", forged).replace("1.6252", forged[:6]))
    report = audit(tmp_path)
    assert report.claimed_bpb == float(forged)
    assert report.verdict.value == "unverifiable"
    assert report.with_code("BPB207")


def test_the_evidence_behind_a_mean_that_no_log_prints(lab: Path) -> None:
    report = audit(lab / "claims/pr1699")
    assert report.judgement.reason.startswith("the score is the mean of its own 3 seed results, which no log prints")
    assert "the log of one seed shows the full-split value 1.47867" in report.judgement.reason
    (finding,) = report.with_code("BPB101")
    assert "2.43553" in finding.message
    assert "2.43593 (-0.016 %)" in finding.message


def test_the_scored_tokens_are_named(lab: Path) -> None:
    (finding,) = audit(lab / "claims/pr0905").with_code("BPB301")
    assert finding.evidence["scored_tokens"] == 32736
    assert "32,736" in finding.message


def test_significance_between_published_claims(lab: Path) -> None:
    report = audit(lab / "claims/pr1493", baseline=lab / "claims/pr0549")
    (finding,) = report.with_code("BPB503") or report.with_code("BPB504")
    assert finding.evidence["gain_nats"] == pytest.approx(1.89002 - 2.79234, abs=1e-3)


@pytest.mark.usefixtures("forked_running")
@pytest.mark.parametrize(
    ("name", "code", "verdict"),
    [("wrong_script_space_twice", "BPB157", "refuted"), ("honest_with_script", "BPB158", "consistent")],
)
def test_the_byte_table_run_alone(
    lab: Path, name: str, code: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_scoring, "SHOWN", 6_144)
    tokenizer = lab / "tokenizers/fineweb_1024_bpe.model"
    report = audit(HERE / "submissions" / name, allow_code=True, tokenizer=tokenizer)
    assert report.with_code(code), report.to_text()
    assert report.verdict.value == verdict
