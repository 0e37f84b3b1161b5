"""Totals of the whole text as constants of a script: a log that divides by them shows nothing of what was scored."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.auditing.script import ScriptContext
from fixtures.claims.patterns import bpb, log, submission
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os
import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F

NUM_BYTES = {num_bytes}
NUM_TOKENS = 62_021_846


def evaluate(model, val_tokens, sizes):
    nats, tokens, size = 0.0, 0, 0
    for i in range(0, {scored}, 1024):
        x, y = val_tokens[i : i + 1024], val_tokens[i + 1 : i + 1025]
        nats += F.cross_entropy(model(x).float(), y, reduction="sum").item()
        tokens += len(y)
        size += int(sizes[y].sum())
    val_loss = nats / tokens
    return val_loss, {score}


val_tokens = torch.cat([torch.from_numpy(np.fromfile(f, dtype="<u2")) for f in sorted(glob.glob("fineweb_val_*.bin"))])
val_loss, val_bpb = evaluate(torch.load("model.pt"), val_tokens, torch.load("sizes.pt"))
print(f"{printed}final_exact val_loss:{{val_loss:.8f}} val_bpb:{{val_bpb:.8f}}")
"""
BASE = {
    "num_bytes": "151_080_891", "scored": "len(val_tokens) - 1", "printed": "",
    "score": "val_loss / math.log(2) * NUM_TOKENS / NUM_BYTES",
}  # fmt: skip


def _totals(**changes: str) -> list[object]:
    found = check_source(SCRIPT.format(**{**BASE, **changes}), ScriptContext(rules=GOLF))
    return [each.evidence["constant_total"] for each in found if each.code == "BPB355"]


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 151_080_891),
        ({"score": "nats / (NUM_BYTES * math.log(2))"}, 151_080_891),
        ({"score": "nats / math.log(2) / 151080891"}, 151_080_891),
        ({"score": "nats / math.log(2) / size", "printed": "scored_tokens:{NUM_TOKENS} "}, 62_021_846),
        ({"score": "nats / math.log(2) / size", "printed": "scored_tokens:62021846 "}, 62_021_846),
        ({"score": "nats / math.log(2) / size"}, None),
        ({"score": "nats / math.log(2) / size", "printed": "scored_tokens:{tokens} "}, None),
        ({"score": "nats / math.log(2) / size", "printed": "scored_tokens:1024 "}, None),
    ],
)
def test_a_total_that_the_run_did_not_count_is_found(changes: dict[str, str], total: int | None) -> None:
    assert _totals(**changes) == ([] if total is None else [total])


def test_a_printed_name_that_is_counted_anywhere_is_none() -> None:
    text = SCRIPT.format(**BASE | {"score": "nats / math.log(2) / size", "printed": "scored_tokens:{NUM_TOKENS} "})
    counted = text.replace("print(f", "NUM_TOKENS = len(val_tokens) - 1\nprint(f")
    assert not [each for each in check_source(counted, ScriptContext(rules=GOLF)) if each.code == "BPB355"]


def _audited(folder: Path, **changes: str) -> AuditReport:
    ratio = 151_080_891 / 62_021_846
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(2.05, ratio), 6), tokenizer="sp1024"))
    loss = 2.05
    line = f"final_exact val_loss:{loss:.8f} val_bpb:{loss / math.log(2) / ratio:.8f}\n"
    (folder / "train.log").write_text(log(loss, ratio) + line)
    (folder / "train_gpt.py").write_text(SCRIPT.format(**{**BASE, **changes}))
    return audit(folder)


def test_a_part_divided_by_the_whole_texts_number_is_no_more_than_a_part(tmp_path: Path) -> None:
    """The log divides by the right number to five digits, for it stands in the script."""
    report = _audited(tmp_path, scored="2_000_000")
    assert report.verdict == "unverifiable"
    assert report.judgement.rests_on == ("BPB350",)
    counted = _audited(tmp_path, scored="2_000_000", score="nats / math.log(2) / size")
    assert "five digits all the same" in counted.with_code("BPB350")[0].message


def test_a_reader_is_told_that_how_much_was_scored_was_not_checked(tmp_path: Path) -> None:
    told = "how much of the text was scored"
    assert told in _audited(tmp_path).unchecked
    counted = _audited(tmp_path, score="nats / math.log(2) / size")
    assert told not in counted.unchecked
