"""What of a result of the harness a claim is held against."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import Recomputed, Verdict, audit


class _Signature:
    def __init__(self, text: str, **settings: Any) -> None:
        self._text = text
        vars(self).update(settings)

    def __str__(self) -> str:
        return self._text


class _Result:
    bits_per_byte, mc_stderr, corpus_stderr, relation = 1.25, 0.01, 0.02, "~<="

    def __init__(self, signature: _Signature) -> None:
        self.signature = signature


def test_the_settings_are_those_of_the_signature() -> None:
    signature = _Signature(
        "bpb|windows:[0:96/500]|x", method="discrete", num_steps="128", context_length="1024", data="tiny_val@12345678"
    )
    assert Recomputed.of(_Result(signature)) == Recomputed(
        bits_per_byte=1.25,
        mc_stderr=0.01,
        corpus_stderr=0.02,
        relation="~<=",
        signature="bpb|windows:[0:96/500]|x",
        method="discrete",
        num_steps=128,
        context_length=1024,
        num_windows=96,
        data_name="tiny_val",
    )


@pytest.mark.parametrize("settings", [{}, {"num_steps": None, "context_length": "document", "data": None}])
def test_what_a_signature_does_not_say_is_not_known(settings: dict[str, Any]) -> None:
    assert Recomputed.of(_Result(_Signature("bpb|windows:500", **settings))) == Recomputed(
        bits_per_byte=1.25, mc_stderr=0.01, corpus_stderr=0.02, relation="~<=", signature="bpb|windows:500"
    )


NATS, BYTES = 2.31749265, 3.1174
EXACT = Recomputed(
    bits_per_byte=NATS / math.log(2.0) / BYTES, mc_stderr=0.0, corpus_stderr=0.02, relation="=", signature="bpb-like",
    method="ar", num_tokens=1_000_000, bytes_per_token=BYTES,
)  # fmt: skip


def record(folder: Path, loss: float, ratio: float, decimals: int = 8) -> Path:
    score = loss / math.log(2.0) / ratio
    (folder / "submission.json").write_text(json.dumps({"val_loss": round(loss, decimals), "val_bpb": round(score, 8)}))
    (folder / "train.log").write_text(f"final_exact val_loss:{loss:.{decimals}f} val_bpb:{score:.8f}\n")
    return folder


@pytest.mark.parametrize("ratio", [0.9 * BYTES, 1.02 * BYTES, 1.17 * BYTES])
def test_the_same_loss_over_other_bytes_is_a_wrong_count(tmp_path: Path, ratio: float) -> None:
    """Unverifiable it was, for another text or tokenizer would explain it too: but not the same loss to six digits."""
    report = audit(record(tmp_path, NATS * (1.0 + 2e-7), ratio), recomputed=EXACT, rules="none")
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb == EXACT.bits_per_byte
    assert "its count of bytes is wrong" in report.judgement.reason


@pytest.mark.parametrize(
    ("loss", "decimals", "recomputed"),
    [
        (NATS * 1.0001, 8, EXACT),  # another loss: another text could be
        (NATS, 3, EXACT),  # too few digits
        (NATS, 8, replace(EXACT, num_windows=64)),  # of a part
        (NATS, 8, replace(EXACT, relation="~<=", mc_stderr=0.001, method="mc")),  # an estimate
        (NATS, 8, replace(EXACT, bytes_per_token=None)),
    ],
)
def test_no_other_loss_shows_that(tmp_path: Path, loss: float, decimals: int, recomputed: Recomputed) -> None:
    report = audit(record(tmp_path, loss, 1.02 * BYTES, decimals), recomputed=recomputed, rules="none")
    assert "its count of bytes is wrong" not in report.judgement.reason
    assert report.verdict is Verdict.UNVERIFIABLE


def test_the_same_loss_over_the_same_bytes_confirms(tmp_path: Path) -> None:
    report = audit(record(tmp_path, NATS, BYTES), recomputed=EXACT, rules="none")
    assert report.verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(("number", "words"), [(1, "the first window"), (4, "the first 4 windows")])
def test_a_part_of_one_window_is_called_one(tmp_path: Path, number: int, words: str) -> None:
    part = replace(EXACT, num_windows=number, num_tokens=1024 * number)
    report = audit(record(tmp_path, NATS * 1.1, BYTES), recomputed=part, rules="none")
    assert any(words in each.message for each in report.with_code("BPB603"))
