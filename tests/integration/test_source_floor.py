"""A score below what a text costs under its own source: the result stands, one WARNING, exit 4; never by luck alone."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import bpb_harness
from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.cli.eval import main
from bpb_harness.result import SourceFloor
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard

V, L, N = 512, 16, 100

_UNIFORM = f"""
import torch
class Uniform:
    vocab_size, context_length = {V}, {L}
    def logits(self, x, level=None):
        return torch.zeros(*x.shape, {V})
class Masked(Uniform):
    mask_token_id, time_conditioned, schedule = {V}, False, "loglinear"
def load_causal(path, device):
    return Uniform()
def load_masked(path, device):
    return Masked()
"""


@pytest.fixture
def text(tmp_path: Path, repository: Path):
    """Options for a text of N tokens that cost log2 V bits each, and a way to say what its source needs for it."""
    tokenizer = repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
    shard = write_shard(tmp_path / "x_val_000000.bin", np.random.default_rng(0).integers(300, 500, N))
    (tmp_path / "uniform.py").write_text(_UNIFORM)
    (tmp_path / "checkpoint.pt").write_bytes(b"x")
    num_bytes = ByteCounter(load_tokenizer(tokenizer)).total(load_shards([shard], vocab_size=V), "official")

    def source_needs(bits: float, num_bytes: int = num_bytes) -> None:
        record = {"description": "d", "entropy_bits_per_byte": 1.0, "code_length_bits": bits, "num_bytes": num_bytes}
        (tmp_path / "x_val_000000.source.json").write_text(json.dumps(record))

    options = {
        "checkpoint": tmp_path / "checkpoint.pt", "data": shard, "tokenizer": tokenizer, "allow_code": True,
        "check_contract": False, "device": "cpu",
    }  # fmt: skip
    return options, source_needs


def score(text, kind: str, **settings):
    options = text[0]
    method = {"causal": "ar", "masked": "mc"}[kind]
    model = f"{options['checkpoint'].parent / 'uniform.py'}:load_{kind}"
    return bpb_harness.evaluate(**options, **({"model": model, "method": method} | settings))


# An autoregressive model does not pay for its first token: the source's 9 bits for it come out of the 20.
@pytest.mark.parametrize(
    ("kind", "bits", "below"),
    [
        ("causal", (N - 1) * 9 + 19.9, False),
        ("causal", (N - 1) * 9 + 20.1, True),
        ("masked", N * 9 + 19.9, False),
        ("masked", N * 9 + 20.1, True),
    ],
)
def test_twenty_bits_below_its_source_is_no_luck(text, kind, bits, below):
    text[1](bits)
    result = score(text, kind)
    assert result.length.nats / math.log(2) == pytest.approx((N - (kind == "causal")) * 9)
    assert result.is_below_source is below
    found = [remark.message for remark in result.remarks if remark.code == "score.below-source"]
    assert len(found) == below
    if below:
        assert "WARNING: the score of 89" in found[0] or "WARNING: the score of 900" in found[0]
        assert f"{bits:,.0f} bits, by more than 4 standard errors and 20 bits" in found[0]
    assert result.to_dict()["source"]["code_length_bits"] == bits


@pytest.mark.parametrize("settings", [{"limit": 3}, {"tail": "drop"}])
def test_a_part_of_the_text_has_no_floor(text, settings):
    text[1](1e6)
    for kind in ("causal", "masked"):
        result = score(text, kind, **settings)
        assert result.source is None
        assert not result.is_below_source


def test_a_record_of_another_text_is_no_floor(text):
    text[1](1e6, num_bytes=1)
    assert score(text, "masked").source is None


def test_the_working_folder_has_no_record_beside_it(text, monkeypatch):
    folder = text[0]["data"].parent / "shards"
    folder.mkdir()
    text[0]["data"].rename(folder / "x_val_000000.bin")
    monkeypatch.chdir(folder)
    text[0]["data"] = Path()
    assert score(text, "masked").source is None


def test_errors_of_sampling_and_rounding_widen_it():
    floor = SourceFloor("d", 1.0, 1.0, 1e6, 1000)
    assert floor.bits_below(1e6, 0.0) == 0.0
    assert floor.bits_below(1e6 - 20.9, 0.0) == 0.0
    assert floor.bits_below(1e6 - 21.5, 0.0) == pytest.approx(0.5)
    assert floor.bits_below(1e6 - 421.5, 100.0) == pytest.approx(0.5)
    assert floor.bits_below(1e6 - 420.5, 100.0) == 0.0


@pytest.mark.parametrize("expect", [[], ["--expect", "0.1"]])
def test_the_command_prints_the_score_warns_and_exits_with_4(text, capsys, monkeypatch, expect):
    options, source_needs = text
    source_needs(2000.0)
    words = [
        "bpb-eval", str(options["checkpoint"]), "--data", str(options["data"]), "--tokenizer",
        str(options["tokenizer"]), "--model", f"{options['checkpoint'].parent / 'uniform.py'}:load_causal",
        "--allow-code", "--method", "ar", "--no-contract", "--device", "cpu", "--format", "json", *expect,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 4
    printed = capsys.readouterr()
    assert "score.below-source" in [finding["code"] for finding in json.loads(printed.out)["findings"]]
    warnings = [line for line in printed.err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("bpb-eval: WARNING: the score of 891 bits is below what the text costs")
