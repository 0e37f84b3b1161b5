"""Bytes per token that are nearly the split's: what honest evaluations have, and what none of them can."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from fixtures.claims.patterns import OLDER_EXPORT, OLDER_TOKENS, SP1024, bpb, log, submission

NATS = 2.03127731
NUM_BYTES, NUM_TOKENS, DOCUMENTS = 151_080_891, 62_021_846, 50_000


def of(folder: Path, text: str, **record: object) -> AuditReport:
    """The report on a log, and on a submission that claims what it ends with."""
    (folder / "train.log").write_text(text)
    (folder / "submission.json").write_text(submission(**record))
    return audit(folder)


def with_final(ratio: float) -> str:
    """A log whose last line alone divides by another number."""
    return f"{log(NATS, SP1024)}legal_ttt_exact val_loss:{NATS - 0.01:.8f} val_bpb:{bpb(NATS - 0.01, ratio):.8f}\n"


@pytest.mark.parametrize("off", [-1.2e-3, -5.3e-4, -3e-4, 3e-4, 6.6e-4, 2.9e-3])
@pytest.mark.parametrize("tokens", [62_021_632, None])
def test_what_no_evaluation_of_the_whole_split_can_have_is_a_doubt(
    tmp_path: Path, off: float, tokens: int | None
) -> None:
    ratio = SP1024 * (1.0 + off)
    report = of(tmp_path, log(NATS, ratio, tokens=tokens), val_bpb=round(bpb(NATS, ratio), 8), tokenizer="sp1024")
    (found,) = report.with_code("BPB117")
    assert report.verdict is Verdict.UNVERIFIABLE
    assert report.judgement.reason == found.message
    assert f"{abs(found.evidence['num_bytes_off']):,} bytes too {'many' if off > 0 else 'few'}" in found.message  # type: ignore[arg-type]
    assert found.evidence["num_bytes_off"] == pytest.approx(off * NUM_BYTES, abs=3)
    (near,) = report.with_code("BPB101")
    assert near.severity.value == "info"  # what is nearly right supports nothing


@pytest.mark.parametrize(
    ("ratio", "tokens"),
    [
        (SP1024, 62_021_632),
        (SP1024 * (1.0 - 3.7e-5), 62_017_536),  # windows of a longer context leave more over
        (SP1024 * (1.0 + 8.6e-5), 62_021_632),
        (NUM_BYTES / (NUM_TOKENS - DOCUMENTS), 62_021_632),  # nothing is paid for the token before a document
        (NUM_BYTES / (NUM_TOKENS - DOCUMENTS), None),
        (OLDER_EXPORT, OLDER_TOKENS),
        (OLDER_EXPORT, None),
    ],
)
def test_what_an_honest_evaluation_has_is_none(tmp_path: Path, ratio: float, tokens: int | None) -> None:
    report = of(tmp_path, log(NATS, ratio, tokens=tokens), val_bpb=round(bpb(NATS, ratio), 8), tokenizer="sp1024")
    assert not report.with_code("BPB117")
    assert report.verdict is Verdict.CONSISTENT


def test_the_bytes_of_another_export_are_none_of_the_one_that_is_loaded(tmp_path: Path) -> None:
    for ratio in (OLDER_EXPORT, 2.44567):  # the latter is near the other's alone
        report = of(tmp_path, log(NATS, ratio), val_bpb=round(bpb(NATS, ratio), 8))
        assert f"the {SP1024:.5f} of fineweb_val (full)" in report.with_code("BPB117")[0].message


def test_few_digits_tell_nothing(tmp_path: Path) -> None:
    score = f"{bpb(2.2031, SP1024 * 1.0002):.4f}"  # 0.005 % is open, and 0.02 %, which a tail may move it by
    report = of(tmp_path, f"final_exact val_loss:2.2031 val_bpb:{score}\n", val_bpb=float(score), tokenizer="sp1024")
    assert not report.with_code("BPB117")
    assert report.verdict is Verdict.CONSISTENT


def test_a_part_has_bytes_per_token_of_its_own(tmp_path: Path) -> None:
    ratio = SP1024 * 1.0017
    text = log(NATS, ratio, tokens=65_536)
    assert not of(tmp_path, text, val_bpb=round(bpb(NATS, ratio), 8)).with_code("BPB117")


def test_a_split_that_the_table_does_not_know_is_held_to_no_digits(tmp_path: Path) -> None:
    ratio = NUM_BYTES / 50_905_088 * (1.0 - 2.2e-3)  # of an export whose bytes nobody has counted
    text = log(NATS, ratio, tokens=50_905_088, export="fineweb10B_ours")
    report = of(tmp_path, text, val_bpb=round(bpb(NATS, ratio), 8))
    assert not report.with_code("BPB117")


def test_a_line_that_the_others_of_its_run_contradict_may_be_no_programs(tmp_path: Path) -> None:
    ratio = SP1024 * 1.00066
    report = of(tmp_path, with_final(ratio), val_bpb=round(bpb(NATS - 0.01, ratio), 8))
    (found,) = report.with_code("BPB117")
    assert "the line is not the program's" in found.message
    assert f"divides by {SP1024:.5f}" in found.message


def test_one_seed_of_several_is_found(tmp_path: Path) -> None:
    ratios = [SP1024, SP1024 * (1.0 + 6e-4), SP1024 * (1.0 - 8e-4)]  # whose mean is as good as right
    for seed, ratio in enumerate(ratios):
        (tmp_path / f"train_seed{seed}.log").write_text(log(NATS + seed / 1000, ratio, seed=seed))
    mean = sum(bpb(NATS + seed / 1000, ratio) for seed, ratio in enumerate(ratios)) / 3
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    (found,) = audit(tmp_path).with_code("BPB117")
    assert str(found.evidence["places"]).startswith("['train_seed2.log:"), "the one that is most off"


@pytest.mark.parametrize(("counts", "is_counted"), [("62021846,151080891", True), ("62022000,151100000", False)])
def test_a_row_of_rounded_numbers_is_held_to_no_more_digits_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: str, is_counted: bool
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(f"dataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\npond,ours,full,{counts},,\n")
    monkeypatch.setenv("BPB_DENOMINATORS", str(table))
    text = log(NATS, SP1024 * (1.0 - 3e-4), tokens=None).replace("fineweb", "pond")
    keys = {"dataset": "pond", "tokenizer": "ours", "val_bpb": round(bpb(NATS, SP1024 * (1.0 - 3e-4)), 8)}
    report = of(tmp_path, text, **keys)
    assert report.with_code("BPB101")
    assert bool(report.with_code("BPB117")) is is_counted
