"""A rescoring confirms and refutes on the claim's own text alone: whatever names another makes it unverifiable."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import AuditReport, Recomputed, audit

SCORE = 1.15049745
# What was scored: no row of any table, and no text that a record below means.
TOKENS, RATIO = 46_095, 2.824
SCORED = Recomputed(
    SCORE, 0.001, 0.008, "~<=", "bpb|method:discrete|T:4", method="discrete", num_steps=4, context_length=128,
    data_name="tiny_val", num_tokens=TOKENS, bytes_per_token=RATIO,
)  # fmt: skip
OTHER_RATIO = 2.435930252704829  # of fineweb_val under sp1024


def audited(folder: Path, again: Recomputed, files: dict[str, str], **keys: Any) -> AuditReport:
    record = {"val_bpb": SCORE, "diffusion_num_steps": 4, **keys}
    for name, text in {"submission.json": json.dumps(record), **files}.items():
        (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return audit(folder, recomputed=again)


def loss(ratio: float) -> float:
    return round(SCORE * ratio * math.log(2), 8)


def line(ratio: float) -> str:
    return f"final val_loss:{loss(ratio):.8f} val_bpb:{SCORE:.8f}\n"


OTHERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "readme, tokenizer": ({"README.md": "# x\n\nbpb under SentencePiece sp1024.\n"}, {}),
    "readme, text": ({"README.md": "# x\n\nScored on the FineWeb validation split.\n"}, {}),
    "readme, another text": ({"README.md": "# x\n\nPerplexity of WikiText-103.\n"}, {}),
    "readme, tokens": ({"README.md": "# x\n\nval_bpb over all 62,021,846 tokens.\n"}, {}),
    "readme, bytes": ({"README.md": "# x\n\nThe validation text has 2.4359 bytes per token.\n"}, {}),
    "script": ({"train_gpt.py": 'TOKENIZER = "./data/tokenizers/fineweb_1024_bpe.model"\n'}, {}),
    "script, text": ({"train_gpt.py": 'VAL = load_dataset("wikitext")\n'}, {}),
    "log, text": ({"train.log": "val_loader:shards pattern=./data/c4_sp1024/c4_val.bin\n" + line(RATIO)}, {}),
    "log, words": ({"train.log": "validating on openwebtext\n" + line(RATIO)}, {}),
    "log, packed": ({"train.log.gz": "validating on openwebtext\n" + line(RATIO)}, {}),
    "log, tokens": ({"train.log": "val_loader:shards tokens:62021846\n" + line(RATIO)}, {}),
    "log, ratio": ({"train.log": line(OTHER_RATIO)}, {}),
    "record, ratio": ({}, {"val_loss": loss(OTHER_RATIO)}),
    "record, near ratio": ({}, {"val_loss": loss(2.78)}),
    "record, tokens": ({}, {"scored_tokens": 512_000}),
    "record, text": ({}, {"dataset": "fineweb10B_sp1024"}),
    "record, words": ({}, {"blurb": "trained and scored on FineWeb"}),
    "record, unknown tokenizer": ({}, {"tokenizer": "sp2048"}),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("again", [SCORE, SCORE * 1.5, SCORE / 1.5])
def test_another_text_confirms_and_refutes_nothing(tmp_path: Path, name: str, again: float) -> None:
    files, keys = OTHERS[name]
    report = audited(tmp_path, replace(SCORED, bits_per_byte=again), files, **keys)
    assert (report.verdict.value, report.corrected_bpb) == ("unverifiable", None)
    (unclear,) = report.with_code("BPB603")
    assert "the harness scored tiny_val" in unclear.message
    assert any("the text that the claim is about" in item for item in report.judgement.missing)


VALIDATES_ANOTHER = 'VAL = os.path.join(DATA, "fineweb_val_*.bin")\n'


@pytest.mark.parametrize(("script", "name", "verdict"), [
    (VALIDATES_ANOTHER, "tiny_val", "unverifiable"),
    (VALIDATES_ANOTHER, "fineweb_val_000000", "confirmed"),
    (VALIDATES_ANOTHER, "val_000000", "confirmed"),  # a name that tells nothing
    (VALIDATES_ANOTHER + '# or "tiny_val"\n', "tiny_val", "confirmed"),
    (VALIDATES_ANOTHER.replace("_val_", "_train_"), "tiny_val", "confirmed"),
])  # fmt: skip
def test_numbers_that_fit_do_not_outweigh_the_split_that_a_script_names(
    tmp_path: Path, script: str, name: str, verdict: str
) -> None:
    """Whatever the rules: without any, no table says how large that split is."""
    files = {"train_gpt.py": f"import os\n{script}", "README.md": "# x\n\nval_bpb on tiny_val.\n"}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": SCORE, "scored_tokens": TOKENS}))
    report = audit(tmp_path, recomputed=replace(SCORED, data_name=name), rules="none")
    assert report.verdict.value == verdict
    assert bool(report.with_code("BPB603")) == (verdict == "unverifiable")


OWN: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "nothing said": ({}, {}),
    "ratio": ({}, {"val_loss": loss(RATIO)}),
    "tokens": ({}, {"scored_tokens": TOKENS}),
    "tokens, tail dropped": ({}, {"scored_tokens": TOKENS - 100}),
    "tokens of the script, a wrong count of bytes": ({}, {"scored_tokens": TOKENS, "val_loss": loss(2.0)}),
    "text": ({"README.md": "# x\n\nTrained on FineWeb, scored on tiny_val.\n"}, {}),
    "tokens of training": ({"README.md": "# x\n\nTrained on 10,000,000 tokens.\n"}, {}),
    "unknown tokenizer": ({}, {"tokenizer": "sp2048", "scored_tokens": TOKENS}),
}


@pytest.mark.parametrize("name", OWN)
def test_the_claims_own_text_still_confirms_and_refutes(tmp_path: Path, name: str) -> None:
    files, keys = OWN[name]
    assert audited(tmp_path, SCORED, files, **keys).verdict.value == "confirmed"
    report = audited(tmp_path, replace(SCORED, bits_per_byte=SCORE * 1.5), files, **keys)
    assert (report.verdict.value, report.corrected_bpb) == ("refuted", SCORE * 1.5)
    assert report.judgement.missing == ()


@pytest.mark.parametrize(("tokens", "ratio", "verdict"), [
    (62_021_846, OTHER_RATIO, "confirmed"),
    (62_021_632, OTHER_RATIO, "confirmed"),
    (62_021_846, OTHER_RATIO * 1.01, "unverifiable"),
    (5_000_000, OTHER_RATIO, "unverifiable"),
])  # fmt: skip
def test_a_split_of_the_table_is_known_by_its_tokens_and_bytes(
    tmp_path: Path, tokens: int, ratio: float, verdict: str
) -> None:
    again = replace(SCORED, data_name="val", num_tokens=tokens, bytes_per_token=ratio)
    files = {"README.md": "# x\n\nFineWeb, sp1024.\n", "train.log": line(OTHER_RATIO)}
    assert audited(tmp_path, again, files).verdict.value == verdict


def test_a_wrong_count_of_bytes_is_refuted_on_the_claims_text(tmp_path: Path) -> None:
    again = replace(SCORED, bits_per_byte=SCORE * 1.2, data_name="fineweb_val", num_tokens=62_021_846,
                    bytes_per_token=OTHER_RATIO)  # fmt: skip
    files = {"README.md": "# x\n\nFineWeb, sp1024.\n", "train.log": line(OTHER_RATIO * 1.2)}
    report = audited(tmp_path, again, files)
    assert (report.verdict.value, report.corrected_bpb) == ("refuted", SCORE * 1.2)


@pytest.mark.parametrize("changes", [
    {"bits_per_byte": 1.6, "num_windows": 4},
    {"num_windows": 96},
    {"mc_stderr": 0.5},
    {"bits_per_byte": 1.6, "method": "chain"},
    {"bits_per_byte": 1.6, "num_steps": 8},
    {"bits_per_byte": SCORE + 0.012},
])  # fmt: skip
def test_a_rescoring_that_settles_nothing_says_what_would(tmp_path: Path, changes: dict[str, Any]) -> None:
    report = audited(tmp_path, replace(SCORED, **changes), {"train.log": line(RATIO)}, estimator="discrete")
    assert report.verdict.value == "unverifiable"
    assert any("a rescoring" in item for item in report.judgement.missing)
    assert "nothing more" not in report.to_text()


@pytest.mark.parametrize("score", [SCORE * 1.5, SCORE / 1.5])
def test_a_bound_of_untold_steps_is_refuted_by_none_of_few(tmp_path: Path, score: float) -> None:
    report = audited(tmp_path, replace(SCORED, bits_per_byte=score), {}, diffusion_num_steps=None)
    assert (report.verdict.value, report.corrected_bpb) == ("unverifiable", None)
    assert any("the claim's T" in item for item in report.judgement.missing)


def test_what_refutes_beside_a_rescoring_of_another_text_is_still_to_be_settled(tmp_path: Path) -> None:
    files = {"README.md": "# x\n\nFineWeb, sp1024.\n", "train.log": line(OTHER_RATIO * 1.16714)}
    report = audited(tmp_path, SCORED, files)
    assert report.verdict.value == "refuted"
    assert report.judgement.missing


def test_a_score_below_all_known_asks_for_each_thing_once(tmp_path: Path) -> None:
    record = {"val_bpb": 0.5, "val_loss": round(0.5 * OTHER_RATIO * math.log(2), 8)}
    (tmp_path / "submission.json").write_text(json.dumps(record))
    (tmp_path / "README.md").write_text("# x\n\nFineWeb, sp1024.\n")
    report = audit(tmp_path)
    assert report.with_code("BPB420")
    assert sum("trained again" in item for item in report.judgement.missing) == 1
