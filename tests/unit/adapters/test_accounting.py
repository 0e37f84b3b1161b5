"""Every tensor and every setting of a checkpoint is taken, known not to matter, or refused by name."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bpb_harness.adapters import Account, AccountedAdapter, AdaptedModel, available_adapters, load_model
from bpb_harness.checkpoints import Checkpoint, read_checkpoint, save_checkpoint
from bpb_harness.checkpoints.names import require_weights
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import NothingDrawn
from bpb_harness.schedule import CosineMd4, LogLinear
from tests.tiny_checkpoints import make_golf_gpt, make_golf_mdlm

_CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
_GPT, _MDLM = make_golf_gpt(num_blocks=2), make_golf_mdlm()
_MAKE = {"golf-gpt": _GPT, "golf-mdlm": _MDLM}


def load(path: Path, content: Mapping[str, Any], adapter: str = "golf-gpt") -> AdaptedModel:
    torch.save(content, path / "x.pt")
    return load_model(path / "x.pt", adapter=adapter, **_CPU)[1]


def refusal(path: Path, content: Mapping[str, Any], adapter: str = "golf-gpt") -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, content, adapter)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_adapters_of_networks_of_others_all_keep_accounts() -> None:
    kept = {name for name, adapter in available_adapters().items() if isinstance(adapter, AccountedAdapter)}
    assert kept >= {"golf-gpt", "golf-mdlm", "golf-prefix", "golf-ddit", "mdlm", "bd3lm"}


class TestTensors:
    @pytest.mark.parametrize("adapter", _MAKE)
    @pytest.mark.parametrize(
        ("name", "step"),
        [
            ("blocks.0.attn.c_q.lora_A", "merge the low-rank matrices"),
            ("blocks.1.attn.c_q.lora_B.default.weight", "merge the low-rank matrices"),
            ("blocks.0.mlp.fc.weight_scale", "multiply quantised weights out"),
            ("blocks.0.attn.c_q.scales", "multiply quantised weights out"),
            ("blocks.0.attn.c_q.weight.absmax", "multiply quantised weights out"),
            ("blocks.0.attn.c_q.qzeros", "multiply quantised weights out"),
            ("ema_decayed.w", "save one set of weights alone"),
            ("value_head.weight", "--model FILE.py:LOADER"),
            ("time_emb.weight", "--model FILE.py:LOADER"),
            ("blocks.0.attn.c_q.bias", "--model FILE.py:LOADER"),
            ("blocks.7.mlp.fc.weight", "--model FILE.py:LOADER"),
        ],
    )
    def test_one_too_many_is_named(self, tmp_path: Path, adapter: str, name: str, step: str) -> None:
        said = refusal(tmp_path, {**_MAKE[adapter], name: torch.ones(2)}, adapter)
        assert f"x.pt has tensors that the adapter {adapter!r} does not use: got {name}; " in said
        assert step in said

    def test_many_too_many_are_counted(self, tmp_path: Path) -> None:
        said = refusal(tmp_path, {**_GPT, **{f"more.{i}": torch.ones(1) for i in range(9)}})
        assert "more.0, more.1, more.2, more.3, more.4, more.5 and 3 more; score it" in said

    @pytest.mark.parametrize("adapter", _MAKE)
    def test_one_missing_is_named(self, tmp_path: Path, adapter: str) -> None:
        for name in _MAKE[adapter]:
            without = {other: value for other, value in _MAKE[adapter].items() if other != name}
            said = refusal(tmp_path, without, adapter)
            assert name in said or "does not fit" in said or "sizes" in said

    @pytest.mark.parametrize("adapter", _MAKE)
    def test_none_can_be_left_out_of_the_network(self, tmp_path: Path, adapter: str) -> None:
        """Each tensor decides the logits: doubling it moves them."""
        before = _logits(load(tmp_path, _MAKE[adapter], adapter))
        for name, value in _MAKE[adapter].items():
            after = _logits(load(tmp_path, {**_MAKE[adapter], name: value * 2 + 0.25}, adapter))
            assert not torch.allclose(before, after, rtol=1e-6, atol=1e-7), name

    @pytest.mark.parametrize(
        "dtype",
        [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool],
        ids=str,
    )
    @pytest.mark.parametrize("name", ["blocks.0.mlp.fc.weight", "tok_emb.weight", "blocks.0.attn.q_gain"])
    def test_raw_levels_are_no_weights(self, tmp_path: Path, dtype: torch.dtype, name: str) -> None:
        said = refusal(tmp_path, {**_GPT, name: _GPT[name].to(dtype)})
        assert f"x.pt: {name}: got {dtype}, expected floats of 16 bits or more; multiply quantised weights" in said

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_floats_of_every_other_width_are(self, tmp_path: Path, dtype: torch.dtype) -> None:
        before = _logits(load(tmp_path, _GPT))
        after = _logits(load(tmp_path, {name: value.to(dtype) for name, value in _GPT.items()}))
        torch.testing.assert_close(after, before, rtol=0.3, atol=1.0)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("name", ["blocks.1.attn_scale", "tok_emb.weight"])
    def test_nan_and_infinity(self, tmp_path: Path, bad: float, name: str) -> None:
        broken = _GPT[name].clone()
        broken.view(-1)[[0, 5]] = bad
        said = refusal(tmp_path, {**_GPT, name: broken})
        assert f"x.pt: {name}: got 2 of {broken.numel()} values that are nan or infinite, expected finite" in said

    def test_numbers_beyond_float32(self, tmp_path: Path) -> None:
        said = refusal(tmp_path, {**_GPT, "skip_weights": torch.full((1, 24), 1e300, dtype=torch.float64)})
        assert "skip_weights: got 24 of 24 values that are nan or infinite" in said

    def test_empty_and_flat_tensors(self, tmp_path: Path) -> None:
        assert "tok_emb.weight: got [0, 24], expected 2 dimensions, none of them 0" in refusal(
            tmp_path, {**_GPT, "tok_emb.weight": torch.ones(0, 24)}
        )
        assert "tok_emb.weight: got [24], expected 2 dimensions" in refusal(
            tmp_path, {**_GPT, "tok_emb.weight": torch.ones(24)}
        )

    @pytest.mark.parametrize("num_skips", [0, 2, 3])
    def test_skips_are_for_half_the_blocks(self, tmp_path: Path, num_skips: int) -> None:
        said = refusal(tmp_path, {**_GPT, "skip_weights": torch.ones(num_skips, 24)})
        assert f"{num_skips} skips, expected" in said

    def test_the_reference_network_too(self, tmp_path: Path) -> None:
        tiny = read_checkpoint(Path("fixtures/checkpoints/mdlm-tiny.pt"))
        name = next(iter(tiny.tensors))
        for change, line in (
            ({"more": torch.ones(1)}, "tensor does not belong: got 'more'"),
            ({name: torch.full_like(tiny.tensors[name], torch.nan)}, "values that are nan or infinite"),
            ({name: tiny.tensors[name].to(torch.float8_e4m3fn)}, "float8_e4m3fn"),
        ):
            assert tiny.adapter is not None
            tensors = {**tiny.tensors, **change}
            save_checkpoint(tmp_path / "y.pt", tensors=tensors, adapter=tiny.adapter, config=tiny.config)
            with pytest.raises(CheckpointError, match=line):
                load_model(tmp_path / "y.pt", **_CPU)


def _logits(adapted: AdaptedModel) -> Tensor:
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    if isinstance(adapted.model, Denoiser):
        return adapted.model.logits(tokens, LogLinear(1e-3).level(torch.tensor([0.3])))
    assert isinstance(adapted.model, CausalLM)
    return adapted.model.logits(tokens)


class TestSettings:
    @pytest.mark.parametrize(
        "stated",
        [
            {"step": 7, "val_loss": 1.5, "best_val_bpb": 1.2, "epoch": 3, "lr": 3e-4, "wall_time_s": 3.0, "seed": 1},
            {"args": {"vocab_size": 50, "n_layer": 2, "n_embd": 24, "num_heads": 4, "num_kv_heads": 2, "mlp_mult": 2}},
            {"config": {"rope_base": 10000, "logit_softcap": 30.0, "tie_embeddings": True, "bias": False}},
            {"hparams": {"matrix_lr": 0.04, "muon_momentum": 0.95, "warmdown_iters": 1200, "qk_gain_init": 1.5}},
            {"config": {"model": {"num_layers": 2, "dropout": 0.1}, "optim": {"lr": 1e-3}}, "git_commit": "abc"},
            {"config": None, "args": {}, "notes": [], "dtype": "bfloat16", "train_batch_tokens": 524288},
            {"qk_gain_init": 1.5, "embed_init_std": 0.005, "best_lr": 1e-3, "loss_scale": 2.0, "rope_base_lr": 0.1},
            {"scheduler": "cosine", "lr_scheduler": {"type": "linear"}, "num_steps": 9, "scheduler_type": "warmup"},
            {"log_every": 10, "log_dir": "x", "commit_hash": "ab", "code_hash": "cd", "hash": "ef", "dtype": "bf16"},
            {"args": {"vocab_size": None, "num_kv_heads": None, "mlp_width": None}, "train_step": torch.tensor(3)},
            {"args": {"best_val_loss": torch.tensor(1.5)}, "progress": {"optimizer": {"exp_avg": torch.ones(2)}}},
        ],
    )  # fmt: skip
    def test_those_of_training_and_those_that_agree(self, tmp_path: Path, stated: dict[str, Any]) -> None:
        before = _logits(load(tmp_path, _GPT))
        assert torch.equal(_logits(load(tmp_path, {"model": _GPT, **stated})), before)

    @pytest.mark.parametrize(
        ("stated", "line"),
        [
            ({"config": {"logit_softcap": 15.0}}, "config.logit_softcap: got 15.0, expected 30.0, as the adapter"),
            ({"args": {"rope_theta": 500000}}, "args.rope_theta: got 500000, expected 10000.0"),
            ({"n_layer": 3}, "n_layer: got 3, expected 2"),
            ({"config": {"model": {"num_heads": 8}}}, "config.model.num_heads: got 8, expected 4"),
            ({"config": {"n_kv_heads": 4}}, "config.n_kv_heads: got 4, expected 2"),
            ({"config": {"tie_embeddings": False}}, "config.tie_embeddings: got False, expected True"),
            ({"config": {"tie_embeddings": 1}}, "config.tie_embeddings: got 1, expected True"),
            ({"config": {"vocab_size": 51}}, "config.vocab_size: got 51, expected 50"),
            ({"config": {"d_model": "wide"}}, "config.d_model: got wide, expected 24"),
            ({"config": {"mlp_ratio": 4}}, "config.mlp_ratio: got 4, expected 2.0"),
            ({"config": {"causal": False}}, "config.causal: got False, expected True"),
            ({"config": {"logit_softcap": None}}, "config.logit_softcap: got None, expected 30.0"),
            ({"args": {"rope_base": None, "rope_theta": None}}, "args.rope_base: got None, expected 10000.0"),
            ({"args": {"logit_softcap": torch.tensor(15.0)}}, "args.logit_softcap: got 15.0, expected 30.0"),
            ({"n_layer": 2, "depth": 3}, "two values of one setting: got n_layer = 2, depth = 3"),
        ],
    )  # fmt: skip
    def test_those_that_say_something_else(self, tmp_path: Path, stated: dict[str, Any], line: str) -> None:
        assert line in refusal(tmp_path, {"model": _GPT, **stated})

    @pytest.mark.parametrize(
        ("stated", "line"),
        [
            ({"rope_scaling": 2.0}, "rope_scaling = 2.0"),
            ({"config": {"activation": "gelu", "n_layer": 2}}, "config.activation = gelu"),
            ({"config": {"window": [1, 2]}}, "config.window = [1, 2]"),
            ({"quantization": "int4", "step": 3}, "quantization = int4"),
            ({"score_mode": "causal"}, "score_mode = causal"),
            ({"attention_version": 2}, "attention_version = 2"),
            ({"noise_beta": 0.5}, "noise_beta = 0.5"),
            ({"diffusion_time": 0.5}, "diffusion_time = 0.5"),
            ({"recur_steps": 2}, "recur_steps = 2"),
            ({"args": {"num_loop_iters": 3}}, "args.num_loop_iters = 3"),
            ({"config": {"num_recurrent_iterations": 4}}, "config.num_recurrent_iterations = 4"),
            ({"unroll_steps": 8}, "unroll_steps = 8"),
            ({"ttt_steps": 8}, "ttt_steps = 8"),
            ({"log_sigma": True}, "log_sigma = True"),
            ({"log_snr_embedding": True}, "log_snr_embedding = True"),
            ({"bigram_hash": "xor"}, "bigram_hash = xor"),
            ({"shifted_loss": True}, "shifted_loss = True"),
            ({"loss_shift": 1}, "loss_shift = 1"),
            ({"rope_dtype": "bfloat16"}, "rope_dtype = bfloat16"),
            ({"loss_softcap": 15}, "loss_softcap = 15"),
            ({"best_rope_base": 5e4}, "best_rope_base = 50000.0"),
            ({"logit_softcap_init": 15}, "logit_softcap_init = 15"),
            ({"noise_scheduler": {"kind": "cosine"}}, "noise_scheduler.kind = cosine"),
            ({"config": {"diffusion_scheduler_type": "cosine"}}, "config.diffusion_scheduler_type = cosine"),
            ({"config": {"model": {"xsa_layers": 2}}}, "config.model.xsa_layers = 2"),
        ],
    )
    @pytest.mark.parametrize("adapter", _MAKE)
    def test_those_that_nobody_knows(self, tmp_path: Path, adapter: str, stated: dict[str, Any], line: str) -> None:
        said = refusal(tmp_path, {"model": _MAKE[adapter], **stated}, adapter)
        assert f"x.pt has settings that the adapter {adapter!r} does not know: got {line}; " in said
        assert "save the weights alone, as a state dict" in said

    def test_beside_the_tensors_and_in_safetensors(self, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        assert "got rope_scaling = 2" in refusal(tmp_path, {**_GPT, "rope_scaling": 2})
        for metadata, line in (
            ({"format": "pt", "step": "100"}, None),
            ({"logit_softcap": "30", "tie_embeddings": "True"}, None),
            ({"logit_softcap": "15"}, "logit_softcap: got 15, expected 30.0"),
            ({"tie_embeddings": "false"}, "tie_embeddings: got false, expected True"),
            ({"lora_alpha": "16"}, "does not know: got lora_alpha = 16"),
        ):
            save_file({name: value.contiguous() for name, value in _GPT.items()}, tmp_path / "x.safetensors", metadata)
            if line is None:
                load_model(tmp_path / "x.safetensors", adapter="golf-gpt", **_CPU)
                continue
            with pytest.raises(CheckpointError, match=line):
                load_model(tmp_path / "x.safetensors", adapter="golf-gpt", **_CPU)

    def test_a_stated_context_is_taken(self, tmp_path: Path) -> None:
        assert load(tmp_path, _GPT).model.context_length == 1024
        adapted = load(tmp_path, {"model": _GPT, "args": {"train_seq_len": 64}})
        assert adapted.model.context_length == 64
        assert adapted.notes[0] == "context 64 is stated; rotary base 10000 and logit cap 30 are the contest's"
        adapted = load(tmp_path, {"model": _MDLM, "args": {"seq_len": 16}}, "golf-mdlm")
        assert (adapted.model.context_length, adapted.context_is_guess) == (16, False)
        adapted = load(tmp_path, _MDLM, "golf-mdlm")
        assert (adapted.model.context_length, adapted.context_is_guess) == (32, True)
        for adapter, length in (("golf-gpt", 0), ("golf-gpt", "64"), ("golf-gpt", True), ("golf-mdlm", 33)):
            said = refusal(tmp_path, {"model": _MAKE[adapter], "seq_len": length}, adapter)
            assert f"context length: got {length!r}, expected" in said

    def test_a_block_of_a_masked_network_is_no_window(self, tmp_path: Path) -> None:
        """What nanoGPT calls a window, block diffusion calls a part of one."""
        said = refusal(tmp_path, {"model": _MDLM, "args": {"block_size": 16}}, "golf-mdlm")
        assert said.startswith("x.pt: args.block_size: got 16, expected 32, the longest window; of a masked network it")
        assert "if it is the window that it was trained on, call it seq_len; else score it through" in said
        assert load(tmp_path, {"model": _MDLM, "args": {"seq_len": 16}}, "golf-mdlm").model.context_length == 16
        assert load(tmp_path, {"model": _MDLM, "args": {"block_size": 32}}, "golf-mdlm").model.context_length == 32
        assert load(tmp_path, {"model": _GPT, "args": {"block_size": 16}}).model.context_length == 16

    @pytest.mark.parametrize(
        ("stated", "line"),
        [
            ({"mask_token_id": 2}, "mask_token_id: got 2, expected 64"),
            ({"time_conditioning": False}, "time_conditioning: got False, expected True"),
            ({"noise_eps": 1e-4}, "noise_eps: got 0.0001, expected 0.001"),
            ({"noise_schedule": "cosine"}, "noise_schedule: got cosine, expected loglinear"),
            ({"args": {"noise_scheduler": "cosine"}}, "args.noise_scheduler: got cosine, expected loglinear"),
            ({"mask_schedule": "cosine"}, "mask_schedule: got cosine, expected loglinear"),
            ({"masking_scheduler": "linear"}, "masking_scheduler: got linear, expected loglinear"),
            ({"args": {"mask_token_id": torch.tensor(5)}}, "args.mask_token_id: got 5, expected 64"),
            ({"num_heads": 6}, "num_heads: got 6, expected 3"),
        ],
    )
    def test_of_a_masked_network(self, tmp_path: Path, stated: dict[str, Any], line: str) -> None:
        assert line in refusal(tmp_path, {"model": _MDLM, **stated}, "golf-mdlm")
        agreeing = {"mask_id": 64, "time_conditioned": True, "noise_eps": 0.001, "schedule": "loglinear", "n_heads": 3}
        load(tmp_path, {"model": _MDLM, **agreeing}, "golf-mdlm")

    def test_a_schedule_that_a_native_file_names(self, tmp_path: Path) -> None:
        path = tmp_path / "y.pt"
        save_checkpoint(path, tensors=_MDLM, adapter="golf-mdlm", config={}, schedule="cosine-md4")
        assert load_model(path, **_CPU)[1].schedule == CosineMd4()
        save_checkpoint(path, tensors=_MDLM, adapter="golf-mdlm", config={})
        assert load_model(path, **_CPU)[1].schedule == LogLinear(1e-3)
        save_checkpoint(path, tensors=_GPT, adapter="golf-gpt", config={}, schedule="cosine-md4")
        with pytest.raises(CheckpointError, match="the adapter 'golf-gpt' has no use for one: got cosine-md4; name"):
            load_model(path, **_CPU)

    @pytest.mark.parametrize("adapter", _MAKE)
    def test_a_part_of_the_weights_says_so(self, tmp_path: Path, adapter: str) -> None:
        load(tmp_path, {"module": _MAKE[adapter], "mp_world_size": 1, "dp_world_size": 8}, adapter)
        said = refusal(tmp_path, {"module": _MAKE[adapter], "mp_world_size": 2}, adapter)
        assert "mp_world_size: got 2, expected 1" in said

    def test_of_native_files(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "y.pt", tensors=_GPT, adapter="golf-gpt", config={"logit_softcap": 20})
        with pytest.raises(CheckpointError, match=r"logit_softcap: got 20, expected 30\.0"):
            load_model(tmp_path / "y.pt", **_CPU)
        save_checkpoint(tmp_path / "y.pt", tensors=_GPT, adapter="golf-gpt", config={})
        load_model(tmp_path / "y.pt", **_CPU)
        content = torch.load(tmp_path / "y.pt", weights_only=True)
        for more, line in (
            ({"lora": {"a": torch.ones(2)}}, "unknown entries: got lora; update"),
            ({"scales": {"a": torch.ones(2)}}, "scales: got nothing quantized that they belong to"),
            ({"tensors": {**_GPT, "x": 3}}, "tensors: x: got int, expected a tensor"),
        ):
            torch.save({**content, **more}, tmp_path / "y.pt")
            with pytest.raises(CheckpointError, match=line):
                load_model(tmp_path / "y.pt", **_CPU)


def int8_file(path: Path, **changes: Any) -> Path:
    matrices = {name: value for name, value in _GPT.items() if name.endswith("weight")}
    content: dict[str, Any] = {
        "__quant_format__": "int8_clean_per_row_v1",
        "quantized": {name: torch.ones_like(value, dtype=torch.int8) for name, value in matrices.items()},
        "scales": {name: torch.full(value.shape[:1], 0.5) for name, value in matrices.items()},
        "dtypes": dict.fromkeys(matrices, "float32"),
        "passthrough": {name: value for name, value in _GPT.items() if name not in matrices},
        "qmeta": {name: {"scheme": "per_row", "axis": 0} for name in matrices},
    }
    buffer = io.BytesIO()
    torch.save({**content, **changes}, buffer)
    path.write_bytes(zlib.compress(buffer.getvalue()))
    return path


class TestInt8Files:
    def test_as_the_contest_writes_them(self, tmp_path: Path) -> None:
        found = read_checkpoint(int8_file(tmp_path / "x.ptz"))
        assert torch.equal(found.tensors["tok_emb.weight"], torch.full((50, 24), 0.5))
        assert isinstance(load_model(tmp_path / "x.ptz", adapter="golf-gpt", **_CPU)[1].model, CausalLM)

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"__quant_format__": "int4_packed"}, "got 'int4_packed', expected int8_clean_per_row_v1"),
            ({"scales": {"other": torch.ones(2)}}, "scales of other, which has no levels"),
            ({"qmeta": {"tok_emb.weight": {"scheme": "per_group"}}}, "qmeta of tok_emb.weight: got {'scheme': "),
            ({"qmeta": {"tok_emb.weight": {"scheme": "per_row", "axis": 1}}}, "expected per_row along axis 0"),
            ({"qmeta": [1]}, "qmeta: got list, expected a dictionary"),
            ({"dtypes": {"tok_emb.weight": "int4"}}, "type of tok_emb.weight: got 'int4', expected one of"),
            ({"passthrough_orig_dtypes": {"skip_weights": "odd"}}, "type of skip_weights: got 'odd'"),
            ({"passthrough": {"tok_emb.weight": torch.ones(2)}}, "quantized and passed through: got tok_emb.weight"),
            ({"passthrough": {**_GPT, "x": "y"}}, "passthrough: x: got str, expected a tensor"),
            ({"zero_points": 3}, "does not know: got zero_points = 3"),
            ({"zero_points": {"tok_emb.weight": torch.ones(50)}}, "got zero_points.tok_emb.weight = a tensor of [50]"),
            ({"low_rank": {"w": (torch.ones(2, 1), torch.ones(1, 2))}}, "low_rank.w = ['a tensor of [2, 1]'"),
            ({"logit_bias": torch.ones(50)}, "logit_bias = a tensor of [50]"),
            ({"hadamard": [torch.ones(4)]}, "hadamard = ['a tensor of [4]']"),
            ({"args": {"logit_softcap": torch.tensor(15.0)}}, "args.logit_softcap: got 15.0, expected 30.0"),
            ({"args": {"logit_softcap": None}}, "args.logit_softcap: got None, expected 30.0"),
        ],
    )  # fmt: skip
    def test_another_meaning_is_refused(self, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            load_model(int8_file(tmp_path / "x.ptz", **changes), adapter="golf-gpt", **_CPU)
        assert line in str(caught.value)

    def test_levels_and_scales_of_other_types(self, tmp_path: Path) -> None:
        content = {"quantized": {"w": torch.ones(2, 2)}, "scales": {"w": torch.ones(2)}, "passthrough": {}}
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=r"levels of w: got torch\.float32, expected torch\.int8"):
            read_checkpoint(tmp_path / "x.pt")
        content["quantized"] = {"w": torch.ones(2, 2, dtype=torch.int8)}
        content["scales"] = {"w": torch.ones(2, dtype=torch.int8)}
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=r"scales of w: got torch\.int8, expected floats"):
            read_checkpoint(tmp_path / "x.pt")

    def test_levels_without_an_adapter_are_named(self, tmp_path: Path) -> None:
        torch.save({"w.q": torch.ones(2, dtype=torch.int8), "w.scale": torch.ones(2)}, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=r"among them quantised weights, .* to apply: w\.q\)"):
            load_model(tmp_path / "x.pt", **_CPU)


class _Linear(nn.Module):
    vocab_size, context_length = 4, 8

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 4, bias=False)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(torch.ones(*x.shape, 2))


class _NewAdapter(AccountedAdapter):
    name = "new"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return "head.weight" in checkpoint.tensors

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        model = _Linear()
        account.fill(model)
        account.take_equal("table", torch.arange(3.0))
        account.set_aside(r"counts\.\d+")
        account.set_settings_aside("odd")
        return AdaptedModel(model.to(device), self.name)


class TestANewAdapter:
    def load(self, tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> AdaptedModel:
        checkpoint = Checkpoint(Path("x.pt"), "tensors", "0" * 64, tensors, config=config or {})
        return _NewAdapter().load(checkpoint, **_CPU)

    def test_accounts_for_everything_by_construction(self) -> None:
        weight = {"head.weight": torch.ones(4, 2)}
        self.load({**weight, "counts.3": torch.ones(1, dtype=torch.int64)}, {"odd": 3, "step": 2})
        for tensors, config, line in (
            ({**weight, "counts.x": torch.ones(1)}, {}, "does not use: got counts.x"),
            (weight, {"odd.er": 1}, "does not know: got odd.er = 1"),
            ({"head.weight": torch.ones(2, 4)}, {}, r"head.weight: got \[2, 4\], expected \[4, 2\]"),
            ({}, {}, "lacks the tensor head.weight"),
        ):
            with pytest.raises(CheckpointError, match=line):
                self.load(tensors, config)

    def test_buffers_that_are_computed_anew_are_compared(self) -> None:
        weight = {"head.weight": torch.ones(4, 2)}
        self.load({**weight, "table": torch.arange(3.0).bfloat16()})
        for table in (torch.tensor([0.0, 1.0, 2.1]), torch.arange(4.0), torch.tensor([0.0, 1.0, torch.nan])):
            with pytest.raises(CheckpointError, match="table"):
                self.load({**weight, "table": table})

    def test_what_counts_as_weights(self) -> None:
        require_weights(torch.zeros(0), "x")
        with pytest.raises(CheckpointError, match="x: got 1 of 1 values"):
            require_weights(torch.tensor([torch.inf], dtype=torch.bfloat16), "x")
        with pytest.raises(CheckpointError, match=r"x: got torch\.complex64"):
            require_weights(torch.ones(1, dtype=torch.complex64), "x")


class _Unfilled(_NewAdapter):
    """Takes a tensor, and forgets to put it into the network."""

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        del device, dtype
        account.take("head.weight")
        return AdaptedModel(_Linear(), self.name)


class TestFilling:
    def test_nothing_is_drawn_for_weights_that_are_filled(self, tmp_path: Path) -> None:
        before = torch.random.get_rng_state()
        load(tmp_path, _GPT)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert not nn.Linear(3, 3).weight.isnan().any()  # as ever, outside

    def test_a_weight_that_nothing_fills_is_no_number(self, tmp_path: Path) -> None:
        torch.save({"head.weight": torch.ones(4, 2)}, tmp_path / "x.pt")
        adapted = _Unfilled().load(read_checkpoint(tmp_path / "x.pt"), **_CPU)
        assert adapted.model.logits(torch.zeros(1, 8, dtype=torch.int64)).isnan().all()

    @pytest.mark.parametrize(
        "draw",
        [
            nn.init.uniform_, nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.trunc_normal_,
            lambda weight: nn.init.normal_(tensor=weight), lambda weight: weight.normal_(),
            lambda weight: weight.uniform_(),
        ],
    )  # fmt: skip
    def test_every_way_of_drawing(self, draw: Any) -> None:
        weight = torch.zeros(3, 3)
        with NothingDrawn():
            draw(weight)
        assert weight.isnan().all()

    def test_memory_is_the_networks_own(self, tmp_path: Path) -> None:
        torch.save({"head.weight": torch.ones(4, 2)}, tmp_path / "x.pt")
        checkpoint = read_checkpoint(tmp_path / "x.pt")
        module = _Linear()
        Account(checkpoint, "new").fill(module)
        checkpoint.tensors["head.weight"].zero_()
        assert torch.equal(module.head.weight, torch.ones(4, 2))

    @pytest.mark.parametrize("made", [True, False])
    def test_numbers_that_the_network_cannot_hold(self, tmp_path: Path, made: bool) -> None:
        huge = torch.full((4, 2), 1e300, dtype=torch.float64)
        torch.save({"head.weight": huge if not made else torch.ones(4, 2)}, tmp_path / "x.pt")
        account, given = Account(read_checkpoint(tmp_path / "x.pt"), "new"), {"head.weight": huge} if made else None
        with pytest.raises(CheckpointError, match=r"head.weight: got 8 of 8 values that are nan or infinite"):
            account.fill(_Linear(), made=given)

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    def test_what_was_made_of_tensors_is_looked_at_too(self, tmp_path: Path, bad: float) -> None:
        torch.save({"head.weight": torch.ones(4, 2)}, tmp_path / "x.pt")
        made = torch.ones(4, 2)
        made[3, 1] = bad
        with pytest.raises(CheckpointError, match=r"head.weight: got 1 of 8 values"):
            Account(read_checkpoint(tmp_path / "x.pt"), "new").fill(_Linear(), made={"head.weight": made})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7, 64, 1001])
def test_one_bad_number_is_found_wherever_it_stands(dtype: torch.dtype, count: int) -> None:
    require_weights(torch.linspace(-2, 2, count).to(dtype), "w")
    for bad in (torch.nan, torch.inf, -torch.inf):
        for place in {0, count // 2, count - 1}:
            weights = torch.linspace(-2, 2, count).to(dtype)
            weights[place] = bad
            with pytest.raises(CheckpointError, match=f"^w: got 1 of {count} values"):
                require_weights(weights, "w")


def test_tensors_of_no_or_of_one_number_are_sound() -> None:
    require_weights(torch.zeros(0, 3), "w")
    require_weights(torch.tensor(2.0), "w")
