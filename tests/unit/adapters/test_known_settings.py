"""Every setting of a config.json is known to its class, known not to matter, or refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpb_harness.adapters.huggingface.network import _auto
from bpb_harness.adapters.huggingface.settings import for_the_library, require_known
from bpb_harness.errors import CheckpointError

transformers = pytest.importorskip("transformers", minversion="5.0")

_LLAMA = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 32,
}  # fmt: skip
_BERT = {key: value for key, value in _LLAMA.items() if key != "num_key_value_heads"}
_GPT2 = {"vocab_size": 50, "n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 32}
_MAMBA = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
_MPT = {"vocab_size": 50, "d_model": 16, "n_heads": 2, "n_layers": 1, "max_seq_len": 32}
_DISTILBERT = {
    "vocab_size": 50, "dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 1, "max_position_embeddings": 32
}  # fmt: skip
_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": _GPT2, "mamba": _MAMBA, "distilbert": _DISTILBERT, "bert": _BERT, "gpt_neox": _BERT, "roberta": _BERT,
    "modernbert": {**_BERT, "pad_token_id": 1}, "mpt": _MPT,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip


def ask(model_type: str, **settings: object) -> None:
    """As the adapter asks, of a network without weights."""
    config = {"model_type": model_type, **_SIZES.get(model_type, _LLAMA), **settings}
    taken = transformers.CONFIG_MAPPING[model_type].from_dict(for_the_library(config))
    kind = "masked" if model_type.endswith("bert") or model_type == "roberta" else "causal"
    _auto(kind)._model_mapping[type(taken)]  # imported first, as the adapter does
    with torch.device("meta"):
        network = _auto(kind).from_config(taken)
    require_known(SimpleNamespace(path=Path("folder"), config=config), taken, network)  # type: ignore[arg-type]


def refusal(model_type: str, **settings: object) -> str:
    with pytest.raises(CheckpointError) as error:
        ask(model_type, **settings)
    return str(error.value)


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        (
            "gpt2",
            {"n_ctx": 32, "summary_type": "cls_index", "summary_proj_to_labels": True, "gradient_checkpointing": False,
             "task_specific_params": {"text-generation": {"do_sample": True}}, "resid_pdrop": 0.1, "prefix": "x"},
        ),
        (
            "llama",
            {"pretraining_tp": 1, "rope_scaling": None, "rope_theta": 5e5, "_name_or_path": "a/b",
             "unsloth_fixed": True,
             "torch_dtype": "bfloat16", "max_sequence_length": 32, "is_llama_config": True, "rope_interleaved": False,
             "transformers.js_config": {"dtype": "q4"}, "temperature": 0.7, "d_model": 16},
        ),
        ("llama", {"rope_scaling": LLAMA3, "rope_theta": 5e5, "mlp_bias": False}),
        ("llama", {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}, "rope_theta": 5e5}),
        ("llama", {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}, "rope_scaling": {**LLAMA3, "rope_theta": 5e5}}),
        ("qwen2", {"use_mrope": False, "sliding_window": 8, "use_sliding_window": False, "max_window_layers": 1}),
        ("gpt_neox", {"rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": True}),
        (
            "mamba",
            {"d_model": 16, "d_inner": 32, "n_layer": 1, "fused_add_norm": True, "rms_norm": True, "ssm_cfg": {},
             "pad_vocab_size_multiple": 8},
        ),
        ("distilbert", {"tie_weights_": True, "qa_dropout": 0.1, "sinusoidal_pos_embds": False, "activation": "gelu"}),
        (
            "bert",
            {"position_embedding_type": "absolute", "directionality": "bidi", "pooler_type": "first",
             "is_decoder": True},
        ),
        ("roberta", {"output_past": True}),
        (
            "modernbert",
            {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
             "position_embedding_type": "absolute", "repad_logits_with_grad": True, "reference_compile": True},
        ),
    ],
)  # fmt: skip
def test_what_old_versions_wrote_is_read(model_type, settings):
    ask(model_type, **settings)


@pytest.mark.parametrize(
    ("model_type", "key", "value"),
    [
        ("llama", "attn_scale", 0.1),
        ("llama", "value_residual", True),
        ("llama", "d_model", 17),
        ("llama", "is_causal", False),
        ("llama", "scale_attn_weights", False),
        ("llama", "rms_norm", False),
        ("qwen2", "qk_norm_eps", 1e-5),
        ("gpt2", "scale", 2),
        ("gpt2", "hidden_activation", "relu"),
        ("gpt2", "softcap", 30),
        ("llama", "output_multiplier", 0.5),
        ("bert", "logits_scale", 2.0),
        ("bert", "attention_window", [4]),
        ("mamba", "d_conv", 8),
        ("mamba", "d_inner", 64),
        ("modernbert", "softcap", 15.0),
        ("gpt_neox", "layer_types", ["sliding_attention"]),
        ("distilbert", "num_experts", 4),
    ],
)
def test_what_no_class_knows_is_refused(model_type, key, value):
    said = refusal(model_type, **{key: value})
    assert f"does not know the setting {key} for '{model_type}', and it may decide the output: got {value!r}" in said


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"logit_scale": 0.5}, "sets logit_scale, which"),
        ({"norm_type": "rmsnorm"}, "sets norm_type, which"),
        ({"attn_config": {"alibi_bias_max": 16}}, "sets attn_config.alibi_bias_max, which"),
        ({"attn_config": {"prefix_lm": True}}, "sets attn_config.prefix_lm, which"),
    ],
)
def test_what_a_class_states_and_none_of_its_code_reads_is_refused(settings, seen):
    said = refusal("mpt", **settings)
    assert f"config.json {seen} transformers" in said
    assert "field for and never reads" in said


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        # what the class says by itself, or does anyway, or that a text never needs
        ("mpt", {"logit_scale": None, "norm_type": "layernorm", "learned_pos_emb": False, "embedding_fraction": 0.5}),
        ("mpt", {"attn_config": {"alibi": True, "alibi_bias_max": 8, "attn_impl": "triton", "softmax_scale": 0.3}}),
        # other settings are made of it: by the class alone, by what it computes, where another one asks for it
        ("mamba", {"expand": 3}),
        ("qwen2", {"max_window_layers": 1, "use_sliding_window": False}),
        ("modernbert", {"local_attention": 8, "global_attn_every_n_layers": 2}),
        # read by what all networks share
        ("gpt_neox", {"rotary_pct": 0.5}),
    ],
)
def test_what_the_code_of_a_class_reads_or_says_by_itself_is_taken(model_type, settings):
    ask(model_type, **settings)


def test_two_names_that_nobody_knows_do_not_vouch_for_each_other():
    assert "does not know the setting d_model" in refusal("llama", d_model=17, n_embd=17)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        (
            {"rope_theta": 1e4, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
            "got rope_theta 10000.0, expected 500000.0, as rope_theta in rope_parameters",
        ),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_scaling": LLAMA3},
            "got factor in rope_scaling 8.0, expected None, as factor in rope_parameters",
        ),
        (
            {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}, "rope_scaling": LLAMA3},
            "got rope_theta in rope_scaling None, expected 500000.0, as rope_theta in rope_parameters",
        ),
        (
            {"original_max_position_embeddings": 8, "rope_scaling": LLAMA3, "rope_theta": 1e4},
            "got original_max_position_embeddings 8, expected 16, as original_max_position_embeddings in rope_scaling",
        ),
        (
            {"rope_scaling": {**LLAMA3, "type": "linear"}},
            "got type in rope_scaling 'linear', expected 'llama3', as rope_type there",
        ),
    ],
)
def test_rotary_settings_that_contradict_each_other(settings, seen):
    said = refusal("llama", **settings)
    assert said.startswith(f"folder: config.json says two things of its rotary positions: {seen}")


def test_rotary_settings_that_nobody_knows():
    said = refusal("llama", rope_scaling={**LLAMA3, "attn_scale": 2.0})
    assert "rope_scaling in config.json has a setting that transformers does not know: attn_scale: got 2.0" in said
    layers = {"full_attention": {"rope_theta": 16e4, "swirl": 1}, "sliding_attention": {"rope_theta": 1e4}}
    said = refusal("modernbert", rope_parameters=layers)
    assert "rope_parameters.full_attention in config.json has a setting that transformers does not know: swirl" in said


@pytest.mark.parametrize(
    ("scaling", "seen"),
    [
        ({"factor": 4.0}, "factor, which transformers does not read with no rope_type: got 4.0"),
        ({"rope_type": "default", "factor": 4.0}, "factor, which transformers does not read with rope_type 'default'"),
        ({"type": "linear", "factor": 4.0, "attention_factor": 0.5}, "attention_factor, which transformers does not"),
        ({**LLAMA3, "beta_fast": 32}, "beta_fast, which transformers does not read with rope_type 'llama3'"),
    ],
)
def test_rotary_settings_that_the_type_does_not_read(scaling, seen):
    assert f"folder: rope_scaling in config.json sets {seen}" in refusal("llama", rope_scaling=scaling)


@pytest.mark.parametrize(
    "scaling",
    [
        {"factor": 1.0, "attention_factor": None},
        {"type": "linear", "factor": 4.0},
        {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16, "beta_fast": 32, "mscale": 0.7},
    ],
)
def test_rotary_settings_that_the_type_reads(scaling):
    ask("llama", rope_scaling=scaling)


def test_one_setting_under_two_names():
    said = refusal("gpt2", hidden_size=32)
    assert "gives one setting two values: got hidden_size 32 and n_embd 16" in said
    ask("gpt2", hidden_size=16, max_position_embeddings=32)
