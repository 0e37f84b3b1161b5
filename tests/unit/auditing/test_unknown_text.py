"""Texts and tokenizers that the table of denominators does not know."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit


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


def _scored(folder: Path, tokens: int, **fields: object) -> AuditReport:
    record = {"val_bpb": 1.2345, "val_loss": 2.0, "scored_tokens": tokens, **fields}
    (folder / "submission.json").write_text(json.dumps(record))
    (folder / "train.log").write_text("final_eval_exact val_loss:2.00000000 val_bpb:1.23450000\n")
    return audit(folder)


@pytest.mark.parametrize("tokens", [64, 46_095, 29_000_000])
def test_a_text_of_unknown_size_has_no_known_part(tmp_path: Path, tokens: int) -> None:
    report = _scored(tmp_path, tokens, dataset="own_val")
    assert report.with_code("BPB301") == []
    (found,) = _scored(tmp_path, tokens, dataset="own_val", eval_slice="the first windows").with_code("BPB301")
    assert "of the split" not in found.message


@pytest.mark.parametrize("fields", [{"dataset": "fineweb_val"}, {}], ids=["named", "the contest's"])
@pytest.mark.parametrize(("tokens", "is_part"), [(46_095, True), (29_000_000, True), (64_700_000, False)])
def test_a_part_is_held_against_the_size_of_its_split(
    tmp_path: Path, fields: dict[str, object], tokens: int, is_part: bool
) -> None:
    found = _scored(tmp_path, tokens, **fields).with_code("BPB301")
    assert bool(found) is is_part
    if found:
        share = 100.0 * tokens * (2.0 / math.log(2.0) / 1.2345) / 151_080_891
        assert f"only {tokens:,} tokens, at most {share:.2g} % of the split were scored" in found[0].message


@pytest.mark.parametrize("names", [{}, {"dataset": "enwik8"}])
def test_the_next_step_for_a_text_of_ones_own_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str]
) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2345, "val_loss": 2.0302, **names}))
    (folder / "train.log").write_text("final val_loss:2.0302 val_bpb:1.2345\n")
    report = audit(folder, rules="none")
    named = "enwik8" if names else "a text that the record does not name"
    assert report.judgement.missing[0] == (
        f"the bytes per token of {named}: count them (`bpb-bytes --tokenizer FILE --data FILE`), write them as a row "
        "of a CSV file, let the environment variable BPB_DENOMINATORS name that file, and audit again (docs/rules.md, "
        '"Denominators of your own")'
    )
    assert "by 2.3726 bytes per token" in report.judgement.reason
    assert all("Nothing in the record gives" not in line for line in report.to_text().splitlines())
    table = tmp_path / "own.csv"
    row = "enwik8,bpe512,full,1000000,2372600,,"
    table.write_text(f"dataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\n{row}\n")
    monkeypatch.setenv("BPB_DENOMINATORS", str(table))
    assert audit(folder, rules="none").verdict == "consistent"
