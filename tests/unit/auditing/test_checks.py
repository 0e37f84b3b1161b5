"""Single checks of a record, against claims made by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import AuditReport, Recomputed, Severity, Verdict, audit
from bpb_harness.auditing.checks.rules import welch_p_value
from bpb_harness.errors import ClaimError
from fixtures.claims.patterns import OLDER_EXPORT, OLDER_TOKENS, SP1024, bpb, claim, log, submission
from tests.golf_rules import GOLF

NATS = 2.0312


def audit_of(folder: Path, **files: str | bytes) -> AuditReport:
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return audit(folder)


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("factor", [0.9971, 1.0, 1.0029])
def test_ratios_within_the_scatter_of_public_logs_are_no_bug(tmp_path: Path, factor: float) -> None:
    report = audit_of(tmp_path, train__log=log(NATS, SP1024 * factor))
    assert {code for code in codes(report) if code < "BPB2"} == ({"BPB101"} if factor == 1.0 else {"BPB101", "BPB117"})


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.86, 0.9, 0.97, 0.98, 1.015, 1.1, 1.14, 1.16, 1.172, 1.185])
def test_ratios_that_fit_nothing_are_never_refuted_on_a_record_of_one_line(tmp_path: Path, factor: float) -> None:
    text = log(NATS, SP1024 * factor).splitlines()
    report = audit_of(tmp_path, train__log="\n".join([*text[:2], text[-1]]))
    assert report.verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("factor", [1.03, 1.05, 1.08, 1.1, 1.12, 1.14])
def test_a_slice_could_be_this_far_off_even_on_every_line(tmp_path: Path, factor: float) -> None:
    assert audit_of(tmp_path, train__log=log(NATS, SP1024 * factor)).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("tokens", [62021846 * 2, 40_540_803, 123])
def test_other_split_sizes_prove_nothing(tmp_path: Path, tokens: int) -> None:
    report = audit_of(tmp_path, train__log=log(NATS, SP1024 * 1.2437, tokens=tokens))
    assert report.verdict is Verdict.UNVERIFIABLE


def test_rounded_scores_cannot_prove_a_bug_to_five_digits(tmp_path: Path) -> None:
    score = bpb(NATS, SP1024 * 1.16714)
    report = audit_of(tmp_path, submission__json=submission(val_loss=2.0, val_bpb=round(score, 2), tokenizer="sp1024"))
    assert report.verdict is Verdict.UNVERIFIABLE


def test_a_tokenizer_named_in_prose_alone_must_fit_better(tmp_path: Path) -> None:
    ratio = SP1024 * 1.16714 * 1.0005
    text = log(NATS, ratio, tokens=None)
    record = submission(val_bpb=round(bpb(NATS, ratio), 8), blurb="better than our last SP1024 model")
    assert audit_of(tmp_path, submission__json=record, train__log=text).verdict is Verdict.UNVERIFIABLE


def test_a_stated_constant_that_is_the_right_ratio_changes_nothing_much(tmp_path: Path) -> None:
    text = claim(claimed_bpb=1.2, tokenizer="sp1024", bytes_per_token=2.4359, bytes_per_token_is_constant=False)
    assert "BPB109" not in codes(audit_of(tmp_path, x__json=text))


def test_a_readme_that_states_another_ratio_raises_a_doubt(tmp_path: Path) -> None:
    readme = "We divide by 4.3 bytes per token, the average.\n"
    report = audit_of(tmp_path, README__md=readme, submission__json=submission(val_bpb=1.2, tokenizer="sp1024"))
    assert "BPB109" in codes(report)
    assert report.verdict is Verdict.UNVERIFIABLE


def test_two_byte_findings_are_one_fault(tmp_path: Path) -> None:
    text = claim(
        claimed_bpb=round(bpb(NATS, 4.3), 8), nats_per_token=NATS, tokenizer="sp1024",
        bytes_per_token=4.3, bytes_per_token_is_constant=True,
    )  # fmt: skip
    report = audit_of(tmp_path, x__json=text)
    assert report.corrected_bpb == pytest.approx(bpb(NATS, SP1024), rel=1e-6)


def test_what_voids_a_score_leaves_no_corrected_one(tmp_path: Path) -> None:
    text = claim(
        claimed_bpb=0.9901, tokenizer="sp1024", bytes_per_token=4.3, bytes_per_token_is_constant=True,
        unpaid_tokens="document boundaries",
    )  # fmt: skip
    report = audit_of(tmp_path, x__json=text)
    assert report.corrected_bpb is None
    assert "1.7478" in str(report.judgement.corrected_from)


@pytest.mark.parametrize(
    ("u_range", "verdict", "code"),
    [
        ([0.05, 0.95], "refuted", "BPB202"),
        ([0.0, 0.9], "refuted", "BPB202"),
        ([0.5, 0.5], "refuted", "BPB202"),
        ([0.5, 1.0], "refuted", "BPB202"),
        ([0.005, 1.0], "unverifiable", "BPB211"),
        ([0.001, 1.0], "unverifiable", None),
        ([0.0, 1.0], "unverifiable", None),
    ],
)
def test_mask_rates(tmp_path: Path, u_range: list[float], verdict: str, code: str | None) -> None:
    report = audit_of(tmp_path, x__json=claim(claimed_bpb=1.5, tokenizer="sp1024", method="mc", u_range=u_range))
    assert report.verdict.value == verdict
    assert ("BPB202" in codes(report), "BPB211" in codes(report)) == (code == "BPB202", code == "BPB211")
    assert "higher" not in report.judgement.reason  # a mean over high rates alone is above the bound


@pytest.mark.parametrize(("rise", "explained"), [(0.5, False), (2.8, False), (3.2, True), (9.9, True), (10.2, False)])
def test_two_estimators_by_the_law_of_t(tmp_path: Path, rise: float, explained: bool) -> None:
    steps, mc = 32, 2.6553
    discrete = mc + rise / (2 * steps) * math.log(2.0)
    text = claim(
        claimed_bpb=round(bpb(discrete, SP1024), 8), nats_per_token=mc, same_estimator=False, tokenizer="sp1024",
        method="discrete", num_steps=steps,
    )  # fmt: skip
    found = codes(audit_of(tmp_path, x__json=text))
    assert ("BPB206" in found) == explained
    assert ("BPB207" in found) != explained


def test_a_possible_pair_is_no_contradiction(tmp_path: Path) -> None:
    text = claim(claimed_bpb=1.63, tokenizer="sp1024", method="discrete", num_steps=32, other_bpb={"mc_bpb": 1.59})
    assert "BPB210" not in codes(audit_of(tmp_path, x__json=text))


@pytest.mark.parametrize(("score", "code"), [(1.10001, "BPB305"), (1.20002, None), (1.05001, "BPB406")])
def test_scores_of_seeds(tmp_path: Path, score: float, code: str | None) -> None:
    record = submission(val_bpb=score, seed_results={"1": {"val_bpb": 1.10001}, "2": {"val_bpb": 1.30003}})
    found = codes(audit_of(tmp_path, submission__json=record))
    assert ("BPB305" in found, "BPB406" in found) == (code == "BPB305", code == "BPB406")


@pytest.mark.parametrize(("score", "said"), [(1.38001, False), (1.41001, True), (1.22001, False), (1.19001, True)])
def test_seeds_of_one_digit_have_a_mean_of_one_digit(tmp_path: Path, score: float, said: bool) -> None:
    record = submission(val_bpb=score, seed_results={"1": {"val_bpb": 1.0}, "2": {"val_bpb": 1.6}})
    assert ("BPB406" in codes(audit_of(tmp_path, submission__json=record))) is said


def test_lines_that_divide_by_different_numbers_refute_nothing(tmp_path: Path) -> None:
    text = log(NATS, SP1024 * 1.2437)
    assert audit_of(tmp_path, train__log=text).verdict is Verdict.REFUTED
    uneven = text.replace("step:4000/8000 val_loss:2.34", "step:4000/8000 val_loss:2.54")
    assert uneven != text
    assert audit_of(tmp_path, train__log=uneven).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("scored", "refuted"), [(62021632, True), (62021846, True), (61000000, False), (1048576, False)]
)
def test_a_bug_shows_where_the_whole_split_was_scored(tmp_path: Path, scored: int, refuted: bool) -> None:
    report = audit_of(tmp_path, train__log=log(NATS, SP1024 * 1.16714, extra=f" scored_tokens:{scored}"))
    assert (report.verdict is Verdict.REFUTED) is refuted


@pytest.mark.parametrize(
    ("std", "said"), [("0.0100", False), ("0.0058", False), ("0.0082", False), ("0.0300", True), ("0.0005", True)]
)
def test_spread_of_seeds(tmp_path: Path, std: str, said: bool) -> None:
    # Sample 0.01, population 0.0082, standard error 0.0058: three honest names. Written by hand, for the digits.
    seeds = '{"1": {"val_bpb": 1.19000}, "2": {"val_bpb": 1.20000}, "3": {"val_bpb": 1.21000}}'
    record = f'{{"val_bpb": 1.20000, "val_bpb_std": {std}, "seed_results": {seeds}}}'
    assert ("BPB408" in codes(audit_of(tmp_path, submission__json=record))) == said


def test_welch_by_hand() -> None:
    # Welch by hand: means 0.1 apart, required 0.05, equal spreads of 0.01, 3 and 3 seeds: t = 0.05 / (0.01 sqrt(2/3)).
    from scipy import stats

    mine, theirs = [1.89, 1.90, 1.91], [1.99, 2.0, 2.01]
    t = 0.05 / (0.01 * math.sqrt(2.0 / 3.0))
    assert welch_p_value(mine, theirs, 0.05) == pytest.approx(stats.t.sf(t, df=4), rel=1e-6)
    assert welch_p_value([1.0, 1.0], [2.0, 2.0], 0.5) == 0.0
    assert welch_p_value([2.0, 2.0], [2.0, 2.0], 0.5) == 1.0


@pytest.mark.parametrize(("gain", "code"), [(0.02, "BPB503"), (0.0055, "BPB504"), (-0.01, "BPB504")])
def test_significance_against_a_baseline(tmp_path: Path, gain: float, code: str) -> None:
    for folder, shift in (("mine", 0.0), ("theirs", gain)):
        (tmp_path / folder).mkdir()
        for seed, nats in {1: 1.9, 2: 1.9004, 3: 1.8996}.items():
            (tmp_path / folder / f"train_seed{seed}.log").write_text(log(nats + shift, SP1024, seed=seed))
    report = audit(tmp_path / "mine", baseline=tmp_path / "theirs")
    assert code in codes(report)  # of the runs, though nobody averaged them into a claim
    assert (report.claimed_bpb, report.verdict) == (None, Verdict.UNVERIFIABLE)
    mean = round(sum(bpb(nats, SP1024) for nats in (1.9, 1.9004, 1.8996)) / 3, 5)
    (tmp_path / "mine" / "submission.json").write_text(json.dumps({"val_bpb": mean}))
    report = audit(tmp_path / "mine", baseline=tmp_path / "theirs")
    assert code in codes(report)
    # The rule concerns the entry, not the number.
    assert report.verdict is Verdict.CONSISTENT


def test_significance_needs_seeds(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(NATS, SP1024))
    assert "BPB505" in codes(audit(tmp_path, baseline=tmp_path))


def _recomputed(score: float, **changes: Any) -> Recomputed:
    return Recomputed(**({
        "bits_per_byte": score, "mc_stderr": 0.001, "corpus_stderr": 0.008, "relation": "~<=",
        "signature": "bpb|method:discrete|T:128", "method": "discrete",
    } | changes))  # fmt: skip


@pytest.mark.parametrize(
    ("score", "method", "verdict", "code"),
    [
        (1.5, "discrete", "confirmed", "BPB601"),
        (1.502, "discrete", "confirmed", "BPB601"),
        (1.515, "discrete", "unverifiable", "BPB603"),
        (1.6, "discrete", "refuted", "BPB602"),
        (1.4, "discrete", "refuted", "BPB602"),
        (1.6, "chain", "unverifiable", "BPB603"),
        (1.55, None, "unverifiable", "BPB603"),
        (1.45, None, "refuted", "BPB602"),
        (2.02, None, "refuted", "BPB602"),
    ],
)
def test_rescoring(tmp_path: Path, score: float, method: str | None, verdict: str, code: str) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text(
        claim(claimed_bpb=1.5000, tokenizer="sp1024", **({"method": method} if method else {})).replace(
            "1.5,", "1.5000,"
        )
    )
    report = audit(path, recomputed=_recomputed(score))
    assert (report.verdict.value, code in codes(report)) == (verdict, True)
    assert report.corrected_bpb == (score if verdict == "refuted" else None)


@pytest.mark.parametrize(
    ("score", "windows", "corpus_stderr", "verdict"),
    [
        (1.5, 96, 0.008, "unverifiable"),  # the first windows agree: no word about the whole text
        (1.52, 96, 0.008, "unverifiable"),
        (1.57, 96, 0.008, "unverifiable"),  # a part of the text may be 3 % off
        (1.7, 96, 0.008, "refuted"),
        (1.7, 4, 0.008, "unverifiable"),
        (1.7, 96, None, "unverifiable"),
        (1.5, 500, 0.008, "confirmed"),  # the claim's own part
        (1.7, 500, 0.008, "refuted"),
    ],
)
def test_rescoring_a_part_of_the_text(
    tmp_path: Path, score: float, windows: int, corpus_stderr: float | None, verdict: str
) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.5000, "method": "discrete", "num_windows": 500}')
    recomputed = _recomputed(score, num_windows=windows, corpus_stderr=corpus_stderr)
    report = audit(path, recomputed=recomputed)
    assert report.verdict.value == verdict
    if verdict == "unverifiable":
        assert report.judgement.reason == report.with_code("BPB603")[0].message
        assert not any("--checkpoint" in item for item in report.judgement.missing)


@pytest.mark.parametrize("settings", [{"num_steps": 16}, {"context_length": 128}, {"method": "mc"}])
def test_rescoring_with_other_settings_refutes_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text(claim(claimed_bpb=1.5, method="discrete", num_steps=128, context_length=1024))
    assert audit(path, recomputed=_recomputed(1.7, **settings)).verdict is Verdict.UNVERIFIABLE
    same = {"num_steps": 128, "context_length": 1024}
    assert audit(path, recomputed=_recomputed(1.7, **same)).verdict is Verdict.REFUTED


@pytest.mark.parametrize(("stderr", "verdict"), [(0.01, Verdict.CONFIRMED), (0.02, Verdict.UNVERIFIABLE)])
def test_an_agreement_within_a_large_error_is_no_evidence(tmp_path: Path, stderr: float, verdict: Verdict) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.5000, "method": "discrete"}')
    assert audit(path, recomputed=_recomputed(1.5, mc_stderr=stderr)).verdict is verdict


def test_a_reproduced_score_outweighs_suspicions(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(NATS, SP1024 * 1.16714))
    report = audit(tmp_path, recomputed=_recomputed(bpb(NATS, SP1024 * 1.16714), method=None))
    assert report.verdict is Verdict.CONFIRMED
    assert not [finding for finding in report.findings if finding.severity.value == "error"]


def test_a_script_that_did_not_make_the_log_refutes_nothing(tmp_path: Path, repository: Path) -> None:
    script = repository / "fixtures/claims/submissions/wrong_script_space_twice/train.py"
    (tmp_path / "train.py").write_text(script.read_text())
    (tmp_path / "train.log").write_text(log(NATS, SP1024))
    report = audit(tmp_path)
    assert report.verdict is Verdict.CONSISTENT
    assert "BPB101" in codes(report)
    (remark,) = report.with_code("BPB151")
    assert remark.severity is Severity.INFORMS


def test_a_claim_file_supplements_a_submission(tmp_path: Path) -> None:
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission/submission.json").write_text(json.dumps({"val_bpb": 1.1465, "seeds": [42]}))
    supplement = tmp_path / "what_i_know.json"
    supplement.write_text(claim(tokenizer="sp1024", bytes_per_token=4.3, bytes_per_token_is_constant=True))
    assert audit(tmp_path / "submission").verdict is Verdict.UNVERIFIABLE
    report = audit([tmp_path / "submission", supplement])
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb == pytest.approx(2.0238, abs=5e-5)


def test_views(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(NATS, SP1024 * 1.16714))
    report = audit(tmp_path)
    frame = report.to_frame()
    assert list(frame["code"]) == [finding.code for finding in report.findings]
    assert set(json.loads(json.dumps(report.to_dict()))) >= {
        "verdict", "claimed_bpb", "corrected_bpb", "corrected_from", "findings",
    }  # fmt: skip
    assert "REFUTED" in report.to_text()
    assert "**refuted**" in report.to_markdown()


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    evil = "\x1b[31m`x` | <img src=x> @someone [a](b) \u202e is not an official result"
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": None, "notes": evil}))
    report = audit(tmp_path)
    assert "\x1b" not in report.to_text()
    assert "\u202e" not in report.to_text()
    markdown = report.to_markdown()
    assert "<img" not in markdown
    assert "@someone" not in markdown
    assert "\\[a\\](b)" in markdown


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(ClaimError):
        audit(tmp_path / "nonsuch")
    with pytest.raises(ClaimError):
        audit(tmp_path)
    with pytest.raises(ClaimError):
        audit("\0")


def test_an_unnamed_tokenizer_must_fit_better_to_confirm(tmp_path: Path) -> None:
    assert audit_of(tmp_path, train__log=log(NATS, SP1024 * 1.002, tokens=None)).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("losses", [(2.5, 2.5, 2.5, 2.5), (6.9, 2.5)])
def test_few_or_equal_losses_do_not_prove_one_estimator(tmp_path: Path, losses: tuple[float, ...]) -> None:
    head = log(NATS, SP1024).splitlines()[:2]
    lines = [f"final_{i} val_loss:{loss:.8f} val_bpb:{bpb(loss, SP1024 * 1.2437):.8f}" for i, loss in enumerate(losses)]
    assert audit_of(tmp_path, train__log="\n".join([*head, *lines])).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(("share", "is_slice"), [(1.0, False), (0.9999, False), (0.97, True), (0.6, True)])
def test_nearly_all_of_the_split_is_not_all(tmp_path: Path, share: float, is_slice: bool) -> None:
    text = log(NATS, SP1024, extra=f" scored_tokens:{int(62021846 * share)}")
    report = audit_of(tmp_path, train__log=text)
    assert ("BPB301" in codes(report)) == is_slice
    assert report.verdict is (Verdict.UNVERIFIABLE if is_slice else Verdict.CONSISTENT)


def test_a_final_line_comes_before_a_step_with_the_same_score(tmp_path: Path) -> None:
    score = bpb(NATS, SP1024)
    text = f"step:7999/8000 val_loss:{NATS:.8f} val_bpb:{score:.8f}\n" + log(NATS, SP1024)
    report = audit_of(tmp_path, submission__json=submission(val_bpb=round(score, 4)), train__log=text)
    assert report.with_code("BPB401")[0].evidence["label"] == "final_int8_zlib_roundtrip_exact"


def test_support_for_the_number_and_for_the_bytes_are_both_needed(tmp_path: Path) -> None:
    from bpb_harness.auditing import CODES
    from bpb_harness.auditing.evidence import gather
    from bpb_harness.auditing.verdict import judge
    from bpb_harness.claim import read_claim

    (tmp_path / "train.log").write_text(log(NATS, SP1024))
    evidence = gather(read_claim(tmp_path), GOLF)
    number, right = CODES["BPB401"].finding(""), CODES["BPB101"].finding("")
    assert judge(evidence, [number, right], None).verdict is Verdict.CONSISTENT
    assert judge(evidence, [number], None).verdict is Verdict.UNVERIFIABLE
    assert judge(evidence, [right], None).verdict is Verdict.UNVERIFIABLE
    assert judge(evidence, [number, right, CODES["BPB902"].finding("")], None).verdict is Verdict.UNVERIFIABLE
    assert judge(evidence, [number, right, CODES["BPB501"].finding("")], None).verdict is Verdict.CONSISTENT


def test_the_compressed_size_in_a_log_is_the_artifact(tmp_path: Path) -> None:
    sizes = "Total submission size: 67272625 bytes\nTotal submission size int8+zlib: 15863489 bytes\n"
    assert "BPB501" not in codes(audit_of(tmp_path, train__log=sizes + log(NATS, SP1024)))


@pytest.mark.parametrize("score", [0.01, 0.29, 12.5, 500.0])
def test_scores_that_no_text_has(tmp_path: Path, score: float) -> None:
    assert "BPB908" in codes(audit_of(tmp_path, submission__json=submission(val_bpb=score)))


def test_words_of_a_record_reach_no_terminal_raw(tmp_path: Path) -> None:
    record = submission(val_bpb=1.2, val_bpb_slice="a \x1b[2J slice\u202e")
    report = audit_of(tmp_path, submission__json=record)
    assert any("\x1b" in finding.message for finding in report.findings)
    assert "\x1b" not in report.to_text() + report.to_markdown()


def test_a_null_is_not_replaced_by_the_mean_of_seeds(tmp_path: Path) -> None:
    record = submission(val_bpb=None, seed_results={"1": {"val_bpb": 1.1}, "2": {"val_bpb": 1.2}})
    report = audit_of(tmp_path, submission__json=record, train__log=log(NATS, SP1024))
    assert report.claimed_bpb is None
    assert report.verdict is Verdict.UNVERIFIABLE


def test_logs_that_end_with_different_scores_claim_none(tmp_path: Path) -> None:
    report = audit_of(
        tmp_path, a__log=log(NATS, SP1024, label="final_int8"), b__log=log(NATS + 0.1, SP1024, label="sliding_window")
    )
    assert report.claimed_bpb is None
    assert "BPB906" in codes(report)


@pytest.mark.parametrize("first", [True, False])
def test_a_score_given_twice_is_ambiguous_and_both_values_are_named(tmp_path: Path, first: bool) -> None:
    score = f"{bpb(NATS, SP1024):.6f}"
    twice = ["1.100000", score] if first else [score, "1.100000"]
    record = f'{{"val_bpb": {twice[0]}, "val_bpb": {twice[1]}}}'
    report = audit_of(tmp_path, submission__json=record, train__log=log(NATS, SP1024))
    assert report.verdict.exit_code != 0
    (finding,) = report.with_code("BPB906")
    said = f"'val_bpb' more than once, as {twice[0]} and {twice[1]}; the last, {twice[1]}, is audited"
    assert said in finding.message


def test_other_lines_are_named_by_their_own_text_and_place(tmp_path: Path) -> None:
    # A ratio far above both: the older export, 2.4423, is the nearer one, but no line divides by it.
    text = log(NATS, SP1024) + f"final_mixed_exact val_loss:{NATS:.8f} val_bpb:{bpb(NATS, 2.86719):.8f}\n"
    record = submission(val_bpb=round(bpb(NATS, 2.86719), 6))
    report = audit_of(tmp_path, submission__json=record, train__log=text)
    (finding,) = report.with_code("BPB104")
    assert "older export" not in finding.message
    right = len(text.splitlines()) - 1
    assert f"train.log:{right} by 2.43593 (fineweb_val (full) under sp1024 has 2.43593)" in finding.message
    assert f"2.86719 bytes per token (train.log:{right + 1})" in finding.message
    assert finding.evidence["scope"] == "full"
    assert "tail dropped" not in finding.message  # rounding alone must not tell one text from another


def test_coarse_digits_are_those_of_the_text_that_the_log_loads(tmp_path: Path) -> None:
    # Digits that are nearer to the older export's 2.4423 than to the 2.43593 of the text that the log says it loads.
    text = "\n".join([*log(NATS, SP1024).splitlines()[:2], "final val_loss:2.031 val_bpb:1.200"])
    (finding,) = audit_of(tmp_path, train__log=text).with_code("BPB101")
    assert "fineweb_val (full) under sp1024" in finding.message


def test_seeds_that_divide_by_different_texts_are_named_one_by_one(tmp_path: Path) -> None:
    report = audit_of(
        tmp_path,
        seed1__log=log(NATS, SP1024),
        seed2__log=log(NATS, OLDER_EXPORT, tokens=OLDER_TOKENS),
        submission__json=submission(val_bpb=round((bpb(NATS, SP1024) + bpb(NATS, OLDER_EXPORT)) / 2, 8)),
    )
    (finding,) = report.with_code("BPB104")
    lines = len(log(NATS, SP1024).splitlines())
    assert f"seed1.log:{lines} by 2.43593 (fineweb_val (full) under sp1024 has 2.43593)" in finding.message
    assert f"seed2.log:{lines} by 2.44230 (fineweb_val (older export) under sp1024 has 2.44230)" in finding.message


# Right bytes, bits per token for bits per byte, a loss in bits, nats for bits, and bytes that fit nothing.
@pytest.mark.parametrize("score", [1.20299, 2.93041, 0.83385, 0.9])
def test_a_log_without_colons_claims_what_one_with_colons_claims(tmp_path: Path, score: float) -> None:
    reports = []
    for name, line in (
        ("a", f"val_loss 2.03120 | val_bpb {score:.5f}"),
        ("b", f"val_loss:2.03120 val_bpb:{score:.5f}"),
    ):
        (tmp_path / name).mkdir()
        reports.append(audit_of(tmp_path / name, train__log=line))
    bare, colons = reports
    assert bare.claimed_bpb == score
    assert (bare.verdict, codes(bare)) == (colons.verdict, codes(colons))
    assert bare.verdict is (Verdict.CONSISTENT if score == 1.20299 else Verdict.UNVERIFIABLE)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"submission.json": '{"val_bpb": 1.2}'}, "submission.json prints no loss in nats per token beside the score"),
        (
            {"submission.json": '{"val_bpb": 1.25}', "a.log": "final val_bpb:1.2500\n"},
            "neither a.log nor submission.json prints a loss in nats per token beside the score",
        ),
        ({"a.log": "final val_bpb:1.2500\n"}, "a.log prints no loss in nats per token beside the score"),
    ],
)
def test_only_files_that_there_are_lack_a_loss(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (finding,) = audit(tmp_path).with_code("BPB106")
    assert finding.message == f"{said}, so nothing shows by how many bytes per token it was divided"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.log": "final val_bpb:1.2500\n"}, "the score is that of one run (a.log), and"),
        ({"submission.json": '{"val_bpb": 1.2, "seed": 7}'}, "the record names one seed (7), and"),
        ({"submission.json": '{"val_bpb": 1.2}'}, "neither a second seed nor a standard error is given"),
    ],
)
def test_whose_score_it_is_is_told_with_its_source(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (finding,) = audit(tmp_path).with_code("BPB304")
    assert finding.message.startswith(said)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ((1024, 1024), ", of as many tokens (1,024)."),
        ((1024, 2048), "; that both are of the same tokens, the two lines do not say."),
        ((None, None), "; that both are of the same tokens, the two lines do not say."),
        ((None, 1024), "; that both are of the same tokens, the two lines do not say."),
    ],
)
def test_whether_two_lines_are_of_the_same_tokens_is_told(
    tmp_path: Path, tokens: tuple[int | None, int | None], said: str
) -> None:
    plain, final = (f" scored_tokens:{count}" if count else "" for count in tokens)
    (tmp_path / "a.log").write_text(f"pre_ttt val_bpb:1.5000{plain}\npost_ttt val_bpb:1.2000{final}\n")
    (finding,) = audit(tmp_path).with_code("BPB414")
    assert said in finding.message
