"""The contest's records: forward passes against a second implementation, files of levels, and what must be stated."""

from __future__ import annotations

import io
import lzma
import zlib
from pathlib import Path

import pyarrow
import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.errors import CheckpointError, HarnessError, UsageError
from tests.golf_forward import record_logits
from tests.tiny_checkpoints import in_banks, make_golf_gpt, make_golf_prefix, make_golf_record

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
SETTINGS = {
    "xsa_last_n": 2, "rope_dims": 4, "ln_scale": 1, "activation": "leaky_relu", "ve_layers": (1, 4),
    "train_seq_len": 64,
}  # fmt: skip
TOKENS = [3, 11, 11, 0, 49, 7, 30, 2, 2]


def stated(**changes: object) -> list[str]:
    every = SETTINGS | changes
    return [
        f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in every.items()
    ]


def save(tensors: object, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def load(path: Path, words: list[str]):
    return load_model(path, adapter="golf-gpt", stated=words, **CPU)[1]


@pytest.mark.parametrize("banked", [False, True])
@pytest.mark.parametrize(
    ("parts", "changes"),
    [
        ({}, {}),
        ({"gated": True, "mixed": True}, {"xsa_last_n": 0}),
        ({"projected": False, "mixed": True}, {"xsa_last_n": 5, "rope_dims": 0}),
        ({"gated": True}, {"ln_scale": 0, "activation": "relu"}),
        ({"kv_heads": 4, "num_blocks": 4}, {"ve_layers": (3, 0), "train_seq_len": 4096}),
    ],
)
def test_a_record_equals_an_independent_forward_pass(tmp_path, parts, changes, banked):
    tensors = make_golf_record(**parts)
    path = save(in_banks(tensors) if banked else tensors, tmp_path / "record.pt")
    model = load(path, stated(**changes)).model
    logits = model.logits(torch.tensor([TOKENS, TOKENS[::-1]]))
    for row, tokens in zip(logits, (TOKENS, TOKENS[::-1]), strict=True):
        wanted = record_logits(tensors, tokens, SETTINGS | changes)
        assert torch.allclose(row.double(), wanted, atol=2e-4), (row - wanted).abs().max()


@pytest.mark.parametrize(
    "change",
    [
        {"xsa_last_n": 3}, {"rope_dims": 6}, {"ln_scale": 0}, {"activation": "relu"}, {"ve_layers": (1, 3)},
        {"ve_layers": (4, 1)}, {"train_seq_len": 4096}, {"rope_base": 5000}, {"logit_softcap": 20},
    ],
)  # fmt: skip
def test_every_setting_decides_something_and_stands_in_the_result(tmp_path, change):
    path = save(make_golf_record(), tmp_path / "record.pt")
    one, other = load(path, stated()), load(path, stated(**change))
    rows = torch.tensor([TOKENS])
    assert not torch.allclose(one.model.logits(rows), other.model.logits(rows), atol=1e-5)
    assert one.adapter != other.adapter
    assert " " not in other.adapter
    (name,) = change
    assert f"{name}=" in other.notes[0]
    assert other.notes[1].startswith("no tensor says, and the contest's are taken: norms without weights, ")


def test_a_preset_is_of_its_own_depth(tmp_path):
    tensors = make_golf_record(num_blocks=11, width=64, num_heads=2, kv_heads=1)
    path = save(tensors, tmp_path / "record.pt")
    by_name = load(path, ["golf_preset=2026-03-23"])
    by_hand = load(path, stated(xsa_last_n=4, rope_dims=16, ve_layers=(9, 10), train_seq_len=2048))
    rows = torch.tensor([TOKENS])
    assert torch.equal(by_name.model.logits(rows), by_hand.model.logits(rows))
    assert by_name.adapter == by_hand.adapter
    assert by_name.model.context_length == 2048
    assert "leaky" not in load(path, ["golf_preset=2026-03-22"]).adapter
    shallow = save(make_golf_record(), tmp_path / "shallow.pt")
    with pytest.raises(CheckpointError, match=r"got a file of 5 blocks, expected 11 blocks; .*ve_layers=\.\."):
        load(shallow, ["golf_preset=2026-03-23", "xsa_last_n=2"])
    more = ["golf_preset=2026-03-23", "xsa_last_n=2", "ve_layers=1,4", "rope_dims=4", "train_seq_len=64"]
    assert load(shallow, more).adapter == load(shallow, stated()).adapter


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no tensor says xsa_last_n, rope_dims, ln_scale, activation, ve_layers, train_seq_len; pass"),
        (stated()[1:], "no tensor says xsa_last_n"),
        (["golf_preset=1999-01-01"], "--golf-preset: got '1999-01-01', expected one of 2026-03-20"),
        ([*stated(), "colour=red"], "--golf-setting: got 'colour', expected one of xsa_last_n"),
        ([*stated(), "ln_scale"], "--golf-setting: got 'ln_scale', expected NAME=VALUE, each name once"),
        ([*stated(), "LN_SCALE=0"], "each name once"),
        (stated(ln_scale="yes"), "--golf-setting ln_scale: got 'yes', expected 0 or 1"),
        (stated(activation="gelu"), "expected relu or leaky_relu"),
        (stated(train_seq_len=0), "--golf-setting train_seq_len: got '0', expected a whole number"),
        ([*stated(), "rope_base=nan"], "--golf-setting rope_base: got 'nan', expected a positive number"),
        (stated(xsa_last_n=6), "xsa_last_n: got 6, expected at most 5 blocks"),
        (stated(ve_layers=(1,)), "ve_layers: got 1, expected 2 of the blocks 0..4"),
        (stated(ve_layers=(1, 1)), "ve_layers: got 1,1, expected"),
        (stated(ve_layers=(1, 5)), "ve_layers: got 1,5, expected"),
        (stated(rope_dims=3), "rope_dims 3"),
        (stated(rope_dims=8), "at most the head's 6"),
    ],
)  # fmt: skip
def test_what_is_not_understood_whole_is_refused(tmp_path, words, said):
    path = save(make_golf_record(), tmp_path / "record.pt")
    with pytest.raises(HarnessError) as refused:
        load(path, words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("blocks.0.attn.vrl_alpha", torch.zeros(1), "does not use: got blocks.0.attn.vrl_alpha"),
        ("ve_layer_scales.2", torch.zeros(1), "ve_layers"),
        ("bigram.embed.weight", torch.zeros(1, 7), "expected 2 or more"),
        ("qo_bank", torch.zeros(2, 24, 24), "does not use: got qo_bank"),
    ],
)
def test_tensors_of_another_variant_are_refused(tmp_path, name, value, said):
    path = save(make_golf_record() | {name: value}, tmp_path / "record.pt")
    with pytest.raises(CheckpointError) as refused:
        load(path, stated())
    assert said in str(refused.value)


def test_banks_of_another_depth_are_refused(tmp_path):
    banked = in_banks(make_golf_record())
    banked["kv_bank"] = banked["kv_bank"][:-1]
    with pytest.raises(CheckpointError, match=r"kv_bank: got .*expected 10 matrices, 2 for each of 5 blocks"):
        load(save(banked, tmp_path / "record.pt"), stated())


def test_heads_of_training_decide_nothing(tmp_path):
    tensors = make_golf_record()
    plain = load(save(tensors, tmp_path / "a.pt"), stated()).model
    more = load(save(tensors | {"mtp_heads.0.weight": torch.ones(50, 24)}, tmp_path / "b.pt"), stated()).model
    assert torch.equal(plain.logits(torch.tensor([TOKENS])), more.logits(torch.tensor([TOKENS])))


def test_the_baseline_is_as_it_was_and_takes_settings_only_as_a_record(tmp_path):
    path = save(make_golf_gpt(), tmp_path / "gpt.pt")
    assert load(path, []).adapter == "golf-gpt"
    words = stated(xsa_last_n=0, rope_dims=0, ln_scale=0, activation="relu", ve_layers=(), train_seq_len=2048)
    assert load(path, words).adapter.startswith("golf-gpt[xsa_last_n=0")
    prefix = save(make_golf_prefix(), tmp_path / "prefix.pt")
    with pytest.raises(UsageError, match=r"--golf-preset and --golf-setting: got .* for the adapter 'golf-prefix'"):
        load_model(prefix, adapter="golf-prefix", stated=["xsa_last_n=1"], **CPU)


# Files of levels


def levels_of(tensors: dict[str, torch.Tensor], kind: str, most: int) -> tuple[dict, dict]:
    """Matrices as levels with a scale a row, the rest in half precision."""
    stored, told = {}, {}
    for name, value in tensors.items():
        if value.ndim == 2 and ".mlp." in name:
            scale = (value.abs().amax(1) / most).half()
            stored[f"{name}.q"] = (value / scale.float()[:, None]).round().clamp(-most, most).to(torch.int8)
            stored[f"{name}.scale"], told[name] = scale, {"type": kind}
        else:
            stored[name], told[name] = value.half(), "passthrough"
    return stored, told


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


def packed(content: object, pack, path: Path) -> Path:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(pack(buffer.getvalue()))
    return path


@pytest.mark.parametrize(("kind", "most"), [("int6", 31), ("int8", 127)])
@pytest.mark.parametrize("pack", [lzma.compress, zlib.compress, zstd])
def test_files_of_mixed_levels(tmp_path, pack, kind, most):
    stored, told = levels_of(make_golf_record(), kind, most)
    path = packed({"w": stored, "m": told}, pack, tmp_path / "record.ptz")
    meant = {
        name: stored[f"{name}.q"].float() * stored[f"{name}.scale"].float()[:, None] if how != "passthrough"
        else stored[name].float()
        for name, how in told.items()
    }  # fmt: skip
    for name in ("tok_emb.weight", "bigram.embed.weight", "ve_shared.embed.weight"):
        meant[name] = meant[name].bfloat16()  # as the networks that they are read back into
    row = load(path, stated()).model.logits(torch.tensor([TOKENS]))[0].double()
    assert torch.allclose(row, record_logits(meant, TOKENS, SETTINGS), atol=2e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w, m: m.pop("smear.gate"), "tensors in w that m does not name: got smear.gate"),
        (lambda w, m: w.pop("smear.gate"), "lacks the tensor smear.gate, which m names"),
        (lambda w, m: w.pop("blocks.0.mlp.fc.weight.scale"), "lacks the tensor blocks.0.mlp.fc.weight.scale"),
        (lambda w, m: m.update({"smear.gate": {"type": "int4"}}), "m of smear.gate: got {'type': 'int4'}"),
        (lambda w, m: m.update({"smear.gate": "sparse"}), "m of smear.gate: got sparse"),
        (lambda w, m: m.update({"smear.gate": {"type": "int6", "zero": 3}}), "m of smear.gate"),
        (lambda w, m: w["blocks.0.mlp.fc.weight.q"].fill_(33), "levels of blocks.0.mlp.fc.weight: got 33"),
        (lambda w, m: w.update({"smear.gate": 3}), "smear.gate: got int, expected a tensor"),
    ],
)
def test_levels_that_are_not_understood_whole_are_refused(tmp_path, change, said):
    stored, told = levels_of(make_golf_record(), "int6", 31)
    change(stored, told)
    path = packed({"w": stored, "m": told}, lzma.compress, tmp_path / "record.ptz")
    with pytest.raises(CheckpointError) as refused:
        load(path, stated())
    assert said in str(refused.value)


def test_damaged_and_swelling_zstd(tmp_path):
    whole = zstd(torch.zeros(10).numpy().tobytes() * 50)
    (tmp_path / "cut.ptz").write_bytes(whole[:-6])
    (tmp_path / "bomb.ptz").write_bytes(zstd(bytes(64 << 20)))
    for name, said in (("cut.ptz", "cut.ptz"), ("bomb.ptz", "bomb.ptz unpacks to more than 16777216 bytes")):
        with pytest.raises(HarnessError) as refused:
            load(tmp_path / name, [])
        assert said in str(refused.value)
