"""Scores whose loss stands on another line, or in another unit, or of which too few digits are printed to tell."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding
from fixtures.claims.patterns import SP1024

LOSS = 2.0312
LOADER = "train_loader:dataset:fineweb10B_sp1024 train_shards:80\n"
NO_LOSS = (
    "neither train.log nor submission.json prints a loss in nats per token beside the score, so nothing shows by how "
    "many bytes per token it was divided"
)


def _found(folder: Path, code: str, log: str, rules: str | None = None, **record: float) -> Finding:
    (folder / "submission.json").write_text(json.dumps(record))
    (folder / "train.log").write_text(log)
    report = audit(folder, rules=rules)
    assert report.verdict == "unverifiable"
    assert report.corrected_bpb is None
    (finding,) = report.with_code(code)
    return finding


@pytest.mark.parametrize("rules", [None, "none"])
def test_a_loss_beside_another_score_is_named(tmp_path: Path, rules: str | None) -> None:
    log = f"{LOADER}step:5 val_loss:2.0312 val_bpb:1.2030\nfinal val_bpb:1.1030\n"
    finding = _found(tmp_path, "BPB106", log, rules, val_bpb=1.103)
    said = "train.log:2 prints a loss, 2.0312, beside another score, 1.2030, which divides by 2.4359 bytes per token"
    assert finding.message == f"{NO_LOSS}; {said}"


@pytest.mark.parametrize(
    ("loss", "divides"),
    [("2.7498", "3.2977 bytes per token, 35.4 % more"), ("1.8000", "2.1586 bytes per token, 11.4 % fewer")],
)
def test_a_loss_beside_the_same_number_is_said_to_be_there(tmp_path: Path, loss: str, divides: str) -> None:
    """That the logs print none would be untrue, and to ask for it too."""
    log = f"{LOADER}step:5 val_loss:{loss} val_bpb:1.2030\nstep:6 val_loss:2.9784 val_bpb:1.3030\nbest val_bpb:1.2030\n"
    finding = _found(tmp_path, "BPB106", log, val_bpb=1.203)
    assert finding.message == (
        f"the line of the score (train.log:4) prints no loss; train.log:2 prints one, {loss}, beside the same number, "
        f"1.2030, which divides by {divides} than the 2.43593 of fineweb_val (full) under sp1024"
    )
    assert finding.evidence["missing"] == "the bytes and the tokens that were scored, printed by what counted them"


def test_of_a_tokenizer_that_is_not_known_the_same_number_is_held_against_none(tmp_path: Path) -> None:
    log = "step:5 val_loss:2.7498 val_bpb:1.2030\nbest val_bpb:1.2030\n"
    finding = _found(tmp_path, "BPB106", log, val_bpb=1.203)
    assert finding.message.endswith("beside the same number, 1.2030, which divides by 3.2977 bytes per token")


def test_a_loss_and_the_script_that_counted_are_asked_for_at_once(tmp_path: Path) -> None:
    _found(tmp_path, "BPB106", f"{LOADER}final val_bpb:1.1030\n", val_bpb=1.103)
    missing = audit(tmp_path).judgement.missing
    assert len([each for each in missing if "loss in nats per token" in each]) == 1


def test_one_log_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.103}))
    missing = audit(tmp_path).judgement.missing
    assert [each for each in missing if "log " in each and "loss" not in each] == [
        "a log of the run, in which the claimed score is printed"
    ]


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (LOSS, ": that is the number that is claimed, which would then be nats per token and no bits per byte"),
        (round(LOSS / SP1024, 4), " that is 0.8338 nats per byte, the number that is claimed, and so no bits per byte"),
        (
            round(LOSS / math.log(2), 4),
            ": that is the claimed number in bits per token, which is no number of bits per",
        ),
        (
            1.203,
            "; by the 2.43593 bytes per token of fineweb_val (full) under sp1024 that would be 1.2030 bits per byte",
        ),
        (1.1, "; by the 2.43593 bytes per token of fineweb_val (full) under sp1024 that would be 1.2030 bits per byte"),
    ],
)
def test_a_loss_on_a_line_without_a_score_is_named_and_what_it_makes(tmp_path: Path, score: float, said: str) -> None:
    log = f"{LOADER}step:5 train_loss:1.9\nfinal val_loss:{LOSS}\nstep:6 train_loss:1.8\nloss:1.7\n"
    finding = _found(tmp_path, "BPB106", log, val_bpb=score)
    assert f"{NO_LOSS}; train.log:3 prints a loss, 2.0312, on a line without a score" in finding.message
    assert said in finding.message


@pytest.mark.parametrize("line", ["step:5 train_loss:1.9", "loss 3", "val_loss: nan", "train val_loss_weight:2"])
def test_what_is_no_loss_of_a_text_is_not_named(tmp_path: Path, line: str) -> None:
    assert _found(tmp_path, "BPB106", f"{LOADER}{line}\n", val_bpb=1.1).message == NO_LOSS


def _told(folder: Path, score: str, loss: str, loader: str) -> str:
    (folder / "submission.json").write_text(f'{{"val_bpb": {score}, "val_loss": {loss}}}')
    (folder / "train.log").write_text(f"{loader}final val_loss:{loss} val_bpb:{score}\n")
    return " ".join(each.message for each in audit(folder).findings if each.code in ("BPB104", "BPB111", "BPB106"))


@pytest.mark.parametrize("loader", [LOADER, ""])
@pytest.mark.parametrize(
    ("score", "loss", "unit"),
    [
        ("0.83", "2.03", "nats per byte, the loss not divided by ln 2, which gives 3.51430 under sp1024"),
        ("1.74", "2.03", "the loss was divided by ln 2 twice, which gives 1.68846 under sp1024"),
    ],
)
def test_units_by_few_digits_are_a_possibility(tmp_path: Path, score: str, loss: str, unit: str, loader: str) -> None:
    said = _told(tmp_path, score, loss, loader)
    assert unit in said
    assert ("by the digits that are printed" in said) is (score == "0.83")  # the other is known to 0.5 %
    assert ("it may be of a tokenizer of its own, or that" in said) is (not loader)


def test_a_unit_is_told_where_nothing_names_the_tokenizer(tmp_path: Path) -> None:
    said = _told(tmp_path, "0.833842", "2.031200", "")
    assert "it may be of a tokenizer of its own, or that the score is in nats per byte" in said
    assert said.endswith("then the score is about 1.203 bits per byte")


@pytest.mark.parametrize("loader", [LOADER, ""])
@pytest.mark.parametrize(("score", "loss"), [("2.03", "2.03"), ("2.93", "2.03")])
def test_a_loss_and_bits_per_token_of_few_digits_are_told_too(
    tmp_path: Path, score: str, loss: str, loader: str
) -> None:
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {score}, "val_loss": {loss}}}')
    (tmp_path / "train.log").write_text(f"{loader}final val_loss:{loss} val_bpb:{score}\n")
    said = " ".join(each.message for each in audit(tmp_path).findings if each.code[:4] == "BPB1")
    assert "in nats per token" in said or "bits per token" in said


@pytest.mark.parametrize(
    ("score", "loss"), [("1.0", "2.0"), ("0.9011", "2.0312"), ("1.4", "2.03"), ("1.203", "2.0312")]
)
def test_other_numbers_are_given_no_unit(tmp_path: Path, score: str, loss: str) -> None:
    for loader in (LOADER, ""):
        said = _told(tmp_path, score, loss, loader)
        assert "ln 2" not in said
        assert "in bits per token" not in said


def test_digits_that_leave_room_are_told(tmp_path: Path) -> None:
    said = _told(tmp_path, "0.8", "2.03", LOADER)
    assert "by 3.66084 bytes per token, somewhere between 3.4230 and 3.8987 by the digits that are printed" in said
    assert "it may be the ratio of fineweb_val (full) under sp8192" in said
