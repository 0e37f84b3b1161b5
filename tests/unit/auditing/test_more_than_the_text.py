"""More bytes than the text has are refuted whatever the tokenizer is called, and nothing that may be right is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit

NUM_BYTES, TOKENS = 151_080_891, 62_363_648
PIECES = 998
LOSSES = (1.95, 1.93, 1.9121)


def _report(
    folder: Path,
    factor: float = 1.21,
    *,
    tokens: int = TOKENS,
    untrained: float = math.log(PIECES),
    first: str = "train",
    text: str = "fineweb",
    moves: float = 0.0,
    says: str = "a model after sp8192 ones",
) -> AuditReport:
    """A record whose log divides by ``factor`` times the bytes of the split.

    Args:
        folder: where it lies.
        factor: of the bytes.
        tokens: that the log loads.
        untrained: the first loss.
        first: whether a step of training, a validation or nothing prints that.
        text: the name of the shards.
        moves: how much of a change of the loss the ratio makes too.
        says: the blurb, which may name a tokenizer.
    """
    ratio = factor * NUM_BYTES / tokens
    lines = [f"val_loader:shards pattern=./data/{text}_own/{text}_val_*.bin tokens:{tokens}"]
    if first == "train":
        lines.append(f"step:1/900 train_loss:{untrained:.4f} train_time:141ms step_avg:141.49ms")
    if first == "val":
        score = untrained / math.log(2.0) / ratio
        lines.append(f"step:0/900 val_loss:{untrained:.4f} val_bpb:{score:.4f} train_time:0ms step_avg:0.01ms")
    scores = [loss / math.log(2.0) / (ratio * (1.0 + moves * (loss / LOSSES[-1] - 1.0))) for loss in LOSSES]
    for name, loss, score in zip(("post_ema", "roundtrip", "final"), LOSSES, scores, strict=True):
        lines.append(f"{name}_exact val_loss:{loss:.8f} val_bpb:{score:.8f}")
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(scores[-1], 8), "blurb": says}))
    return audit(folder)


@pytest.mark.parametrize("says", ["a model after sp8192 ones", "better than sp1024", "a tokenizer of its own"])
@pytest.mark.parametrize("first", ["train", "val"])
def test_more_bytes_than_there_are_refute_whatever_the_tokenizer_is_called(
    tmp_path: Path, says: str, first: str
) -> None:
    report = _report(tmp_path, says=says, first=first)
    (found,) = report.with_code("BPB105")
    assert report.verdict == "refuted"
    assert report.corrected_bpb == pytest.approx(LOSSES[-1] / math.log(2.0) * TOKENS / NUM_BYTES, rel=1e-6)
    if says != "a tokenizer of its own" or first == "train":  # else the text of that size is known already
        assert "182.8 MB, where fineweb_val has 151.08 MB" in found.message
        assert f"as with {PIECES} pieces" in found.message


def test_so_does_a_split_that_is_nearly_the_tables(tmp_path: Path) -> None:
    report = _report(tmp_path, 1.2437, tokens=62_011_846, untrained=math.log(1024), says="an sp1024 model")
    assert report.verdict == "refuted"
    assert report.with_code("BPB105")


@pytest.mark.parametrize(
    "settings",
    [
        {"factor": 1.14},  # a part could be as far off
        {"first": ""},  # the loss may be in bits
        {"untrained": math.log2(PIECES)},  # and here it is, by the first of them
        {"tokens": 49_999_872, "untrained": math.log(10_240)},  # a shard that was cut: more text than the split
        {"tokens": 49_999_872, "untrained": math.log(10_240), "factor": 1.7},
        {"moves": 0.2},
        {"moves": 0.05},  # the score is a mixture's, the loss the network's
        {"text": "wikitext"},
        {"tokens": 1_048_576},
        {"tokens": 62_400_000},  # cut after a round number: another text
        {"factor": 1.16, "untrained": math.log(1200)},  # such a vocabulary has nearly as many bytes a token
    ],
)
def test_what_may_be_right_is_not_refuted(tmp_path: Path, settings: dict[str, object]) -> None:
    report = _report(tmp_path, **settings)  # type: ignore[arg-type]
    assert not report.with_code("BPB105")
    assert report.verdict == "unverifiable"


def test_right_bytes_beside_another_tokenizers_name_are_no_more_than_there_are(tmp_path: Path) -> None:
    assert not _report(tmp_path, 1.0).with_code("BPB105")


@pytest.mark.parametrize("first", ["step:250/900", "250/900", "iter 250:", "epoch 0:"])
def test_the_first_validation_of_a_run_that_was_trained_before_tells_no_vocabulary(tmp_path: Path, first: str) -> None:
    text = _text_of_another(tmp_path, "step:0/900", 5.4961)
    assert audit(tmp_path).verdict == "refuted"
    (tmp_path / "train.log").write_text(text.replace("step:0/900", first))
    report = audit(tmp_path)
    assert not report.with_code("BPB105")
    assert report.verdict == "unverifiable"


def _text_of_another(folder: Path, step: str, loss: float) -> str:
    """A text of 100M tokens under GPT-2's vocabulary, in shards called after the same corpus."""
    lines = ["val_loader:shards pattern=./data/fineweb10B/fineweb_val_*.bin tokens:99999744"]
    for name, nats in ((step, loss), ("step:600/900", 4.1021), ("step:900/900", 3.6133), ("roundtrip_exact", 3.6141)):
        lines.append(f"{name} val_loss:{nats:.8f} val_bpb:{nats / math.log(2.0) / 4.6312:.8f}")
    text = "\n".join(lines) + "\n"
    (folder / "train.log").write_text(text)
    score = 3.6141 / math.log(2.0) / 4.6312
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(score, 8), "val_loss": 3.6141}))
    return text


def test_several_lines_must_tell_it(tmp_path: Path) -> None:
    _report(tmp_path)
    lines = (tmp_path / "train.log").read_text().splitlines()
    (tmp_path / "train.log").write_text("\n".join([*lines[:3], lines[-1]]) + "\n")
    assert not audit(tmp_path).with_code("BPB105")
