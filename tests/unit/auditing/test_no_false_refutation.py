"""Honest records that were refuted, and dishonest ones that were confirmed, by a word or a coincidence."""

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import Recomputed, audit
from bpb_harness.claim.methods import TWO_PASS, method_in

LOADER = "val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632"
FINAL = "final_int8_zlib_roundtrip_exact val_loss:2.03120000 val_bpb:1.20299100"


def folder(path: Path, record: dict[str, object], *log: str) -> Path:
    path.mkdir()
    (path / "submission.json").write_text(json.dumps(record))
    (path / "train.log").write_text("\n".join(log) + "\n")
    return path


@pytest.mark.parametrize(
    "estimator",
    [
        "one pass; not two-pass",
        "autoregressive, two-pass compression of weights, then sliding window",
        "two-pass TTT: score first, then adapt; causal",
        "ELBO, not a pseudo-log-likelihood",
    ],
)
def test_prose_about_a_void_method_does_not_refute(tmp_path, estimator):
    record = {"val_bpb": 1.202991, "val_loss": 2.0312, "estimator": estimator}
    report = audit([folder(tmp_path / "a", record, LOADER, FINAL)])
    assert report.verdict == "consistent"


def test_the_name_of_a_void_method_still_counts():
    assert method_in("two_pass_even_odd") == TWO_PASS


@pytest.mark.parametrize("line", ["ttt final bpb 1.1830", "TTT: val_bpb 1.1830"])
def test_a_score_printed_in_another_form_is_no_contradiction(tmp_path, line):
    record = {"val_bpb": 1.183, "val_loss": 2.0312}
    report = audit([folder(tmp_path / "a", record, LOADER, FINAL, line)])
    assert report.verdict == "unverifiable"
    contradicted = audit([folder(tmp_path / "b", record, LOADER, FINAL)])
    assert contradicted.verdict == "refuted"


@pytest.mark.parametrize(
    "pattern",
    [
        "./data/datasets/wikitext_sp1024/val.bin",
        "./data/datasets/c4_sp1024/c4_val.bin",
        "./data/datasets/fineweb10B_sp1024/fineweb_train_*.bin",
    ],
)
def test_another_text_is_not_held_against_the_known_one(tmp_path, pattern):
    record = {"val_bpb": 1.202991, "val_loss": 2.0312}
    loader = f"val_loader:shards pattern={pattern} tokens:62021632"
    assert audit([folder(tmp_path / "right", record, loader, FINAL)]).verdict == "unverifiable"
    # a ratio that a byte bug would give on the known text
    twice = {"val_bpb": 1.030710, "val_loss": 2.0312}
    log = "final_int8_zlib_roundtrip_exact val_loss:2.03120000 val_bpb:1.03071000"
    assert audit([folder(tmp_path / "ratio", twice, loader, log)]).verdict == "unverifiable"


@pytest.mark.parametrize("value", [0.8, 1.202991])
def test_a_rescoring_of_another_text_says_nothing(tmp_path, value):
    class Signature:
        method, num_steps, context_length, data = "ar", None, "1024", "tiny_val@12345678"

        def __str__(self):
            return f"bpb|data:{self.data}"

    class Result:
        bits_per_byte, mc_stderr, corpus_stderr, relation, signature = value, 0.0, 0.001, "=", Signature()

    path = folder(tmp_path / "a", {"val_bpb": 1.202991, "val_loss": 2.0312}, LOADER, FINAL)
    report = audit([path], recomputed=Recomputed.of(Result()))
    assert report.verdict != "refuted"
    assert any("tiny_val" in finding.message for finding in report.findings)
