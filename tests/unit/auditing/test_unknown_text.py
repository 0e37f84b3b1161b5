"""Texts and tokenizers that the table of denominators does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import audit


@pytest.mark.parametrize("dataset", ["wikitext103", "enwik8", "The Pile, test", "c4_val"])
@pytest.mark.parametrize("tokenizer", [None, "sp1024", "gpt2"])
@pytest.mark.parametrize("loss", [2.0, 0.8556])
def test_an_unknown_text_is_one_doubt_by_name(tmp_path: Path, dataset: str, tokenizer: str | None, loss: float) -> None:
    record = {"name": "x", "val_bpb": 1.2345, "val_loss": loss, "dataset": dataset}
    if tokenizer is not None:
        record["tokenizer"] = tokenizer
    (tmp_path / "submission.json").write_text(json.dumps(record))
    (tmp_path / "train.log").write_text(f"step 1\nval_loss:{loss:.4f} val_bpb:1.2345\n")
    report = audit(tmp_path)
    assert report.verdict == "unverifiable"
    about_bytes = [finding for finding in report.findings if finding.code.startswith("BPB1")]
    assert len(about_bytes) == 1
    if about_bytes[0].code == "BPB106":
        assert dataset.lower() in about_bytes[0].message
