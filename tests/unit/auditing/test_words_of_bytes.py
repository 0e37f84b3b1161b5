"""BPB101: what the right bytes per token are said to be made of, and how near they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding
from fixtures.claims.patterns import OLDER_EXPORT, OLDER_TOKENS, SP1024, bpb, log, submission

NUM_BYTES = 151_080_891  # of the split
NATS = 2.0312


def _right(folder: Path, text: str, ratio: float, decimals: int = 8, nats: float = NATS) -> Finding:
    (folder / "train.log").write_text(text)
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(nats, ratio), decimals)))
    (found,) = audit(folder, rules="parameter-golf").with_code("BPB101")
    return found


def test_a_count_of_the_log_is_called_one(tmp_path: Path) -> None:
    whole, loaded = 45_510_031, 45_508_608  # tokens
    ratio = NUM_BYTES / whole
    text = log(NATS, ratio, tokens=loaded, export="fineweb10B_sp4096")
    assert _right(tmp_path, text, ratio).message == (
        "the record divides by 3.31973 bytes per token; fineweb_val (full) under another sp4096 than the table's, its "
        "151,080,891 bytes over the 45,508,608 tokens that the log loads, has 3.31983 (-0.003 %); the true ratio "
        "is slightly lower: the tokens behind the last whole window are not in that count"
    )
    text = log(NATS, ratio, tokens=whole, export="fineweb10B_sp4096")  # all of them: nothing is left over
    assert _right(tmp_path, text, ratio).message.endswith("has 3.31973 (equal within its digits)")


def test_a_count_of_the_table_is_the_splits_own(tmp_path: Path) -> None:
    message = _right(tmp_path, log(NATS, SP1024), SP1024).message
    assert "windows" not in message
    assert "bytes over" not in message


@pytest.mark.parametrize("loaded", [151_076_864, 151_080_448])
def test_one_byte_a_token_supports_nothing_but_the_count(tmp_path: Path, loaded: int) -> None:
    text = log(0.9, 1.0, tokens=loaded, export="fineweb10B_byte")
    assert _right(tmp_path, text, 1.0, nats=0.9).message == (
        "the record divides by 1.00000 bytes per token: its tokens are bytes, one each, as of any text. Of the "
        f"151,080,891 bytes of fineweb_val the log loads {loaded:,}; the {NUM_BYTES - loaded:,} others, which fill no "
        "whole window, are not scored"
    )


def test_bytes_with_a_token_before_each_document_are_held_against_a_count(tmp_path: Path) -> None:
    loaded = 151_130_112
    ratio = NUM_BYTES / (NUM_BYTES + 50_000)
    text = log(0.9, ratio, tokens=loaded, export="fineweb10B_byte")
    assert "151,080,891 bytes over the 151,130,112 tokens" in _right(tmp_path, text, ratio, nats=0.9).message


@pytest.mark.parametrize(
    ("nats", "score", "said"),
    [
        ("2.0312", "1.2030", "(equal within its digits)"),
        ("2.03120000", "1.20300306", "(-0.001 %)"),
        ("2.03", "1.2023", "(equal within its digits, which leave 0.25 % open)"),
    ],
)
def test_a_deviation_is_given_where_the_digits_tell_one(tmp_path: Path, nats: str, score: str, said: str) -> None:
    lines = [line for line in log(NATS, SP1024).split("\n") if "final_" not in line]
    (tmp_path / "train.log").write_text("\n".join([*lines, f"final_exact val_loss:{nats} val_bpb:{score}\n"]))
    (tmp_path / "submission.json").write_text(submission(val_bpb=float(score)))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB101")
    assert said in found.message


def test_a_score_of_an_older_export_is_said_to_be_of_another_text(tmp_path: Path) -> None:
    found = _right(tmp_path, log(NATS, OLDER_EXPORT, tokens=OLDER_TOKENS), OLDER_EXPORT)
    assert "fineweb_val (older export)" in found.message
    report = audit(tmp_path, rules="parameter-golf")
    (remark,) = report.with_code("BPB118")
    assert (remark.severity, report.verdict) == ("info", "consistent")
    assert remark.message == (
        "the score is of text of an older export of fineweb_val, which has about 155.8 MB, not of the split as it is, "
        "of 151,080,891 bytes: another text, whose scores are none of this one"
    )


def test_of_a_part_of_an_older_export_no_size_is_said_to_be_scored(tmp_path: Path) -> None:
    text = log(NATS, OLDER_EXPORT, tokens=OLDER_TOKENS).replace("model_", "val_tokens_limit:1048576\nmodel_", 1)
    (tmp_path / "train.log").write_text(text)
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, OLDER_EXPORT), 8)))
    report = audit(tmp_path, rules="parameter-golf")
    assert report.with_code("BPB301")
    (remark,) = report.with_code("BPB118")
    assert "the score is of text of an older export" in remark.message


@pytest.mark.parametrize(
    ("ratio", "tokens"), [(SP1024, 62_021_632), (OLDER_EXPORT, None), (OLDER_EXPORT * 1.0005, OLDER_TOKENS)]
)
def test_no_older_export(tmp_path: Path, ratio: float, tokens: int | None) -> None:
    (tmp_path / "train.log").write_text(log(NATS, ratio, tokens=tokens))
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, ratio), 8)))
    assert audit(tmp_path, rules="parameter-golf").with_code("BPB118") == []
