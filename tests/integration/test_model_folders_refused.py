"""Folders of transformers that are not understood whole: refused by name, each with what is wrong."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.errors import CheckpointError
from tests.tiny_folders import CONTEXT, CPU, adapted, change_config, change_tensors, network, require_same_score, save

transformers = pytest.importorskip("transformers")
Q = "model.layers.0.self_attn.q_proj."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders by kind, each saved once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(tmp_path_factory.mktemp(kind), network(kind))
        return made[kind]

    return folder


def int8(tensors):
    tensors[Q + "weight"] = (tensors[Q + "weight"] * 40).to(torch.int8)


def int8_with_scales(tensors):
    int8(tensors)
    tensors[Q + "weight_scale"] = torch.rand(16, 1)


def gptq(tensors):
    tensors.pop(Q + "weight")
    tensors |= {Q + "qweight": torch.ones(2, 16, dtype=torch.int32), Q + "scales": torch.ones(1, 16).half()}


def lora(tensors):
    tensors |= {Q + "lora_A.default.weight": torch.ones(4, 16), Q + "lora_B.default.weight": torch.ones(16, 4)}


def lora_around_its_base(tensors):
    tensors[Q + "base_layer.weight"] = tensors.pop(Q + "weight")
    lora(tensors)


def plain_float8(tensors):
    tensors[Q + "weight"] = tensors[Q + "weight"].to(torch.float8_e4m3fn)


def value_head(tensors):
    tensors |= {"v_head.summary.weight": torch.ones(1, 16), "v_head.summary.bias": torch.ones(1)}


def other_frequencies(tensors):
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = 1 / 500.0 ** (torch.arange(0, 8, 2) / 8)


def one_expert_less(tensors):
    for name in [name for name in tensors if ".experts." in name]:
        if ".experts.3." in name:
            tensors.pop(name)
        elif tensors[name].ndim == 3:
            tensors[name] = tensors[name][:3]


def without(gone):
    return lambda tensors: {name: value for name, value in tensors.items() if name != gone}


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("llama", int8, r"q_proj\.weight holds integers where the network has weights.*torch\.int8.*dequantize"),
        ("llama", int8_with_scales, r"q_proj\.weight holds integers where the network has weights.*dequantize\(\)"),
        ("llama", gptq, r"does not use, and lacks .*q_proj\.weight.*qweight.*quantised weights"),
        ("llama", lora, r"does not use: got .*lora_A\.default\.weight.*merge_and_unload\(\)"),
        ("llama", lora_around_its_base, r"does not use, and lacks .*q_proj\.weight.*base_layer.*merge_and_unload\(\)"),
        ("llama", plain_float8, r"q_proj\.weight is stored in 8 bits.*expected a quantization_config"),
        ("llama", value_head, r"does not use: got v_head\.summary\.bias, v_head\.summary\.weight.*--model"),
        ("llama", without(Q + "weight"), r"lacks the tensor .*q_proj\.weight: got 1 missing"),
        ("qwen2", without("lm_head.weight"), r"lacks the tensor lm_head\.weight"),
        ("qwen2", without(Q + "bias"), r"lacks the tensor .*q_proj\.bias"),
        ("llama", lambda t: t | {Q + "bias": torch.ones(16)}, r"does not use: got .*q_proj\.bias"),
        (
            "llama",
            lambda t: t | {Q + "weight": torch.ones(8, 16)},
            r"got \[8, 16\], expected \[16, 16\], by its config",
        ),
        ("llama", other_frequencies, r"inv_freq is not what the network makes itself"),
        (
            "gpt2",
            lambda t: t | {"transformer.h.0.attn.bias": torch.ones(1, 1, CONTEXT, CONTEXT)},
            r"attn\.bias is not what the network makes itself",
        ),
        (
            "bert",
            lambda t: t | {"bert.embeddings.position_ids": torch.arange(CONTEXT).flip(0)[None]},
            r"position_ids is not what the network makes itself",
        ),
        ("bert", lambda t: t | {"classifier.weight": torch.ones(2, 16)}, r"does not use: got classifier\.weight"),
        (
            "bert",
            lambda t: t | {"bert.encoder.layer.0.attention.self.distance_embedding.weight": torch.ones(63, 8)},
            r"does not use: got .*distance_embedding\.weight",
        ),
        ("mixtral", one_expert_less, r"experts"),
    ],
)
def test_tensors(folders, tmp_path, kind, change, says) -> None:
    folder = shutil.copytree(folders(kind), tmp_path / "model")
    change_tensors(folder, change)
    with pytest.raises(CheckpointError, match=says):
        adapted(folder)


FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantised weights: .*'gptq'.*dequan"),
        ("llama", {"quantization_config": {"quant_method": "bitsandbytes"}}, r"quantised weights: .*'bitsandbytes'"),
        ("llama", {"quantization_config": FP8}, r"quantised weights: got quant_method 'fp8' without tensors NAME_sc"),
        ("llama", {"quantization": {"bits": 4, "group_size": 64}}, r"quantised weights: got quantization in config"),
        ("llama", {"compression_config": {"format": "int"}}, r"quantised weights: got compression_config"),
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, r"architecture: got LlamaForSequenceCl.*head"),
        ("llama", {"architectures": ["LlamaForRewardModel"]}, r"architecture: got LlamaForRewardModel"),
        ("llama", {"architectures": None}, r"architecture: got none"),
        ("bert", {"architectures": ["BertForSequenceClassification"]}, r"architecture: got BertForSequenceClassif"),
        (
            "llama",
            {"architectures": ["MistralForCausalLM"]},
            r"do not go together: got MistralForCausalLM, expected Ll",
        ),
        ("bert", {"is_encoder_decoder": True}, r"is an encoder-decoder model: got bert"),
        (
            "llama",
            {"model_type": "llama9", "transformers_version": "9.1.0"},
            r"model_type 'llama9' is not known to transformers: got the folder was written by transformers 9\.1\.0, "
            r"installed is \d",
        ),
        (
            "llama",
            {"final_logit_softcapping": 30.0},
            r"does not know the setting final_logit_softcapping for 'llama'.*30",
        ),
        ("qwen2", {"logits_scaling": 8.0}, r"does not know the setting logits_scaling for 'qwen2'"),
        ("gpt2", {"rope_theta": 1e4}, r"does not know the setting rope_theta for 'gpt2'"),
        (
            "bert",
            {"position_embedding_type": "relative_key"},
            r"does not know the setting position_embedding_type|lacks",
        ),
        ("llama", {"num_hidden_layers": 3}, r"lacks the tensor model\.layers\.2\."),
        (
            "llama",
            {"num_hidden_layers": 10**9},
            r"num_hidden_layers in config\.json: got 1000000000, expected at most 10000",
        ),
        ("llama", {"num_hidden_layers": 1}, r"does not use: got model\.layers\.1\."),
    ],
)
def test_settings(folders, tmp_path, kind, changes, says) -> None:
    folder = shutil.copytree(folders(kind), tmp_path / "model")
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=says):
        adapted(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"final_logit_softcapping": None, "sliding_window": None, "pruned_heads": {}},
        {"position_embedding_type": "absolute", "logits_scaling": 1.0, "quantization_config": {}},
        {"unsloth_version": "2024.9", "pretraining_tp": 1, "transformers_version": "4.12.0"},
    ],
)
def test_settings_that_change_nothing_are_no_reason(folders, tmp_path, changes) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps(config))
    adapted(folder)


@pytest.fixture
def own_code(folders, tmp_path, monkeypatch) -> Path:
    """A folder whose classes stand in own.py, and a place of the test's own for the library's copies of it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr("sys.path", [*sys.path])
    folder = shutil.copytree(folders("bert"), tmp_path / f"model{next(_NUMBERS)}")
    auto_map = {"AutoConfig": "own.C", "AutoModelForMaskedLM": "own.M"}
    change_config(folder, model_type="homemade", transformers_version="4.38.2", auto_map=auto_map)
    return folder


_NUMBERS = itertools.count()
_OWN = """from transformers import BertConfig, BertForMaskedLM
class C(BertConfig):
    model_type = "homemade"
class M(BertForMaskedLM):
    config_class = C
"""


def with_code(folder: Path):
    return load_model(folder, adapter="huggingface", allow_code=True, **CPU)[1]


def test_permitted_code_in_the_folder_scores_and_is_accounted_for(folders, own_code) -> None:
    (own_code / "own.py").write_text(_OWN)
    found = with_code(own_code)
    require_same_score(transformers.BertForMaskedLM.from_pretrained(folders("bert")), found.model)
    assert "code from the checkpoint's folder was run, as permitted" in found.notes
    change_tensors(own_code, lambda tensors: tensors | {"more.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"does not use: got more\.weight"):
        with_code(own_code)
    name = "bert.encoder.layer.0.output.dense.weight"
    change_tensors(own_code, lambda tensors: {n: v for n, v in tensors.items() if n not in ("more.weight", name)})
    with pytest.raises(CheckpointError, match=rf"lacks the tensor {name}"):
        with_code(own_code)


def test_failing_code_in_the_folder_names_both_versions(own_code) -> None:
    (own_code / "own.py").write_text("raise ImportError('cannot import name gone')\n")
    with pytest.raises(CheckpointError, match=r"code in the folder fails: .*by transformers 4\.38\.2, installed is \d"):
        with_code(own_code)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_its_base(folders, tmp_path, name) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    (folder / name).write_text("{}")
    with pytest.raises(CheckpointError, match=rf"not merged into its base: got {name}.*merge_and_unload\(\) of peft"):
        adapted(folder)


@pytest.mark.parametrize(
    ("settings", "scales", "says"),
    [
        (FP8, {}, r"q_proj\.weight is stored in 8 bits and has no .*q_proj\.weight_scale_inv"),
        (FP8, {Q + "weight_scale_inv": torch.ones(2, 2)}, r"q_proj\.weight_scale_inv: got \[2, 2\].*expected \[1, 1\]"),
        (FP8 | {"weight_block_size": [8]}, {Q + "weight_scale_inv": torch.ones(1, 1)}, r"weight_block_size of .*\[8\]"),
        (FP8 | {"weight_block_size": [0, 8]}, {Q + "weight_scale_inv": torch.ones(1, 1)}, r"weight_block_size of"),
        (
            {"quant_method": "fp8", "weight_block_size": None},
            {Q + "weight_scale_inv": torch.ones(2)},
            r"expected one number",
        ),
        (
            FP8,
            {Q + "weight_scale_inv": torch.ones(1, 1), "model.norm.weight_scale_inv": torch.ones(1, 1)},
            r"norm\.weight_scale_inv belongs to a float8 tensor .*: got torch\.float32",
        ),
        (
            FP8,
            {Q + "weight_scale_inv": torch.ones(1, 1), Q + "activation_scale": torch.ones(1)},
            r"does not use: got .*q_proj\.activation_scale",
        ),
    ],
)
def test_float8_whose_scales_do_not_fit(folders, tmp_path, settings, scales, says) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    change_tensors(folder, plain_float8)
    if not scales:
        scales = {"model.layers.0.self_attn.k_proj.weight_scale_inv": torch.ones(1, 1)}
    change_tensors(folder, lambda tensors: tensors | scales)
    config = {**json.loads((folder / "config.json").read_text()), "quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=says):
        adapted(folder)


@pytest.mark.parametrize("window", [0, -1])
def test_windows_that_show_nothing(tmp_path: Path, folders: Callable[[str], Path], window: int) -> None:
    """Other code means none by them; the library hides every token."""
    folder = tmp_path / "gemma2"
    shutil.copytree(folders("gemma2"), folder)
    change_config(folder, sliding_window=window)
    with pytest.raises(CheckpointError) as caught:
        adapted(folder)
    assert str(caught.value) == (
        f"gemma2: sliding_window in config.json: got {window}, expected 1 or more, or null for none: transformers "
        "takes it for a window that shows nothing; if every token sees all before it, set it to null, or, where the "
        "class needs a window, to the longest row; else to the tokens of the window"
    )
    folder = tmp_path / "qwen2"
    shutil.copytree(folders("qwen2"), folder)
    change_config(folder, sliding_window=window, use_sliding_window=False)
    adapted(folder)  # nothing reads it


def test_a_masked_network_that_is_to_be_a_decoder(tmp_path: Path, folders: Callable[[str], Path]) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(folders("bert"), folder)
    change_config(folder, is_decoder=True)
    with pytest.raises(CheckpointError, match="makes a decoder of a masked language model: got is_decoder True"):
        adapted(folder)
    change_config(folder, is_decoder=False)
    adapted(folder)
