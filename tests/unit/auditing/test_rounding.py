"""What the rounding of printed numbers hides must never be held against a claim, nor for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from fixtures.claims.patterns import PREFIX, SP1024, bpb, log


def claimed(folder: Path, text: str) -> AuditReport:
    """The report on a claim file; the text keeps the digits as they are printed."""
    path = folder / "x.claim.json"
    path.write_text('{"format": "bpb-claim/1", "tokenizer": "sp1024", "dataset": "fineweb_val", ' + text + "}")
    return audit(path)


def submitted(folder: Path, score: str, loss: str, **record: Any) -> AuditReport:
    """The report on a submission whose log prints the very same digits."""
    fields = json.dumps({"tokenizer": "sp1024", **record})[1:]
    (folder / "submission.json").write_text(f'{{"val_bpb": {score}, "val_loss": {loss}, {fields}')
    (folder / "train.log").write_text(f"final_exact val_loss:{loss} val_bpb:{score}\n")
    return audit(folder)


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


def about_bytes(report: AuditReport) -> set[str]:
    return {code for code in codes(report) if code.startswith("BPB1") or code == "BPB302"}


def test_several_rows_within_the_rounding_are_no_prefix(tmp_path: Path) -> None:
    # 2.43586 is 0.003 % from the whole split, but the loss has one digit: 2.3 % are open.
    report = claimed(tmp_path, '"claimed_bpb": 1.303, "nats_per_token": 2.2')
    assert about_bytes(report) == {"BPB111"}
    assert report.with_code("BPB111")[0].severity.value == "info"


def test_a_coarse_print_confirms_nothing(tmp_path: Path) -> None:
    report = submitted(tmp_path, "1.303", "2.2")
    assert about_bytes(report) == {"BPB111"}
    assert report.verdict is Verdict.UNVERIFIABLE
    assert any("more digits" in item for item in report.judgement.missing)


def test_a_prefix_beside_the_whole_split_within_the_rounding_is_no_warning(tmp_path: Path) -> None:
    # The point value lies nearer to the prefix, but both rows are honest and neither is excluded.
    report = claimed(tmp_path, f'"claimed_bpb": {bpb(2.2, 2.4100):.3f}, "nats_per_token": 2.2')
    assert about_bytes(report) == {"BPB111"}


def test_a_prefix_that_the_digits_single_out_is_still_named(tmp_path: Path) -> None:
    report = claimed(tmp_path, f'"claimed_bpb": {bpb(2.2, PREFIX):.5f}, "nats_per_token": 2.20000')
    assert about_bytes(report) == {"BPB302"}


@pytest.mark.parametrize(("score", "loss"), [("1.30", "2.20"), ("1.31", "2.21"), ("1.303", "2.200")])
def test_two_digits_of_the_right_ratio_are_right(tmp_path: Path, score: str, loss: str) -> None:
    report = submitted(tmp_path, score, loss)
    assert about_bytes(report) == {"BPB101"}
    assert report.verdict is Verdict.CONSISTENT


@pytest.mark.parametrize(("score", "loss", "code"), [("1.30", "2.20", "BPB111"), ("1.3029", "2.2000", "BPB101")])
def test_where_nothing_names_the_tokenizer_two_digits_are_too_few(
    tmp_path: Path, score: str, loss: str, code: str
) -> None:
    # With a percent open a ratio meets one of the table's rows by chance.
    report = submitted(tmp_path, score, loss, tokenizer=None)
    assert about_bytes(report) == {code}
    assert report.verdict is (Verdict.CONSISTENT if code == "BPB101" else Verdict.UNVERIFIABLE)


@pytest.mark.parametrize("off", [1.01, 1.013, 0.99])
def test_two_digits_that_a_bug_could_have_made_confirm_nothing(tmp_path: Path, off: float) -> None:
    for loss in (2.20, 2.21, 2.22, 2.23):
        report = submitted(tmp_path, f"{bpb(loss, SP1024 * off):.2f}", f"{loss:.2f}")
        assert report.verdict is Verdict.UNVERIFIABLE


def test_a_slice_with_few_digits_is_not_said_to_be_off(tmp_path: Path) -> None:
    report = claimed(
        tmp_path, '"claimed_bpb": 1.303, "nats_per_token": 2.2, "num_windows": 500, "context_length": 1024'
    )
    assert codes(report) >= {"BPB111", "BPB301"}
    assert "BPB104" not in codes(report)


@pytest.mark.parametrize("coarse_seed", [1, 2])
def test_a_seed_printed_with_few_digits_is_not_uneven(tmp_path: Path, coarse_seed: int) -> None:
    # 1.30 and 2.20 give 2.4415, 0.23 % from the other seed's exact 2.43593: the rounding of one print explains it.
    exact = f"val_loss:2.20310000 val_bpb:{bpb(2.2031, SP1024):.8f}"
    mean = (1.30 + bpb(2.2031, SP1024)) / 2
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {mean:.4f}, "seeds": [1, 2], "tokenizer": "sp1024"}}')
    for seed in (1, 2):
        pair = "val_loss:2.20 val_bpb:1.30" if seed == coarse_seed else exact
        (tmp_path / f"seed_{seed}.log").write_text(f"seed:{seed}\nfinal {pair}\n")
    report = audit(tmp_path)
    assert len(report.with_code("BPB401")[0].evidence["places"]) == 2  # type: ignore[arg-type]
    assert "BPB104" not in codes(report)


def test_bits_per_token_in_a_bare_log_are_suggested(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("final_exact val_loss:2.20010000 val_bpb:3.17407337\n")
    report = audit(tmp_path / "train.log")
    assert about_bytes(report) == {"BPB108"}
    (finding,) = report.with_code("BPB108")
    assert finding.severity.value == "warning"
    assert finding.factor is None
    assert "bits per token" in finding.message
    assert report.verdict is Verdict.UNVERIFIABLE


def test_bytes_as_tokens_are_not_called_a_slip(tmp_path: Path) -> None:
    text = log(0.7312, 1.0, tokens=151080891, export="fineweb10B_byte260")
    (tmp_path / "train.log").write_text(text)
    assert "BPB108" not in codes(audit(tmp_path))
