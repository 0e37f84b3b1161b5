"""Settings of ``config.json`` that never change what a network answers when it is scored, as a closed list.

Training, generation of text, heads that are not scored, names, tokenizers, and how (not what) to compute. A class of
settings that has such a field uses it as it likes; the list says what may stand beside the fields of a class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

_UNNEEDED = re.compile(
    r"""
    # what the folder is, and who wrote it
    model_type | architectures | auto_map | base_model_name | license | language | tags | \w*_version | _?name_or_path
    | _commit_hash | unsloth_\w+ | transformers\.js_config | transformers_weights | configuration_files
    | custom_pipelines | is_llama_config | model_name | torchscript
    # training
    | \w*dropout\w* | \w*_pdrop | drop_path\w* | \w+_drop | gradient_checkpointing | initializer_\w+ | init_\w+
    | rescale_prenorm_residual | \w*loss | \w*loss_\w+ | label_smoothing | reduction | ignore_index
    | sparse_prediction | sparse_pred_ignore_index | repad_logits_with_grad | layers_to_keep | use_unpad\w*
    | router_jitter_noise | embedding_fraction
    # heads that are not scored
    | _?num_labels | id2label | label2id | problem_type | finetuning_task | task_specific_params | summary_\w+
    | classifier_\w+ | pooler_\w+ | directionality | num_choices | num_nextn_predict_layers | num_mtp_layers
    | mtp_\w+ | is_folding_model
    # generation of text
    | max_length | min_length | max_new_tokens | min_new_tokens | do_sample | early_stopping | num_beams
    | num_beam_groups | diversity_penalty | temperature | top_[kp] | min_p | typical_p | repetition_penalty
    | length_penalty | (encoder_)?no_repeat_ngram_size | bad_words_ids | num_return_sequences
    | output_(attentions|hidden_states|scores|logits|past|\w*router_logits|value_attentions|retrieved)
    | return_dict(_in_generate)? | use_return_dict | remove_invalid_values | exponential_decay_length_penalty
    | (begin_)?suppress_tokens | forced_(bos|eos)_token_id | use_cache | \w*kv_cache | cache_\w+ | custom_generate
    | pad_key_length | (validate|inference)_runner(_input)? | runner_max_sequence_length | max_batch_size | prefix
    # tokenizers
    | \w+_token | \w+_token_ids? | \w+_token_index | (mask|unk|pad|bos|eos)_index | tokenizer_\w+
    | pad_vocab_size_multiple
    | pad_vocab_size_multiple_of
    # how to compute
    | _?(attn|experts)_implementation(_internal|_autoset)? | _attn_implementation_autoset | (torch_)?dtype
    | (use_)?(bfloat16|bf16|float16|fp16|fp32) | tf_legacy_loss | \w*flash\w* | fused_\w+ | \w+_fusion
    | \w+_in_fp32 | upcast_\w+ | pretraining_tp | slow_but_exact | reference_compile | use_mambapy | use_bfloat16
    | chunk_size_feed_forward | compression_config | quantization(_config)? | kernel_config | distributed_config
    | fusion_config | use_kernels? | attn_impl | use_mem_eff_path | moe_shared_expert_overlap | \w+_cache_dtype
    | (chunkwise|sequence|step)_kernel
    # other stacks than the one that is built
    | is_decoder | is_encoder_decoder | add_cross_attention | cross_attention_hidden_size | tie_encoder_decoder
    # sizes of buffers of old versions; the longest window is asked of the built network
    | n_ctx | max_sequence_length | model_max_length | max_seq_len | seq_length | context_length | seq_len
    # left by old versions, never read by any
    | output_past | tie_weights_ | gap_size | net_structure_type | num_memory_blocks | offset_alibi
    | skip_bias_add(_qkv)?
    """,
    re.VERBOSE,
)
# Values by which a setting says what every network of the library does anyway.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "rotary": (True,),
    "scale_attn_weights": (True,),
    "rms_norm": (True,),
    "down_scale_factor": (1,),
    **dict.fromkeys(
        (
            "logit_scale", "logits_scaling", "embedding_multiplier", "residual_multiplier", "rotary_pct",
            "partial_rotary_factor", "scale_emb", "lm_head_multiplier", "key_multiplier", "attention_out_multiplier",
            "rotary_scaling_factor", "attention_multiplier", "residual_scale", "embedding_scale", "output_multiplier",
        ),
        (1,),
    ),
}  # fmt: skip
# What networks do unless they are told not to: here `false` says something.
_ON_BY_ITSELF = re.compile(
    r"(is_|use_)?(causal|causal_mask|rope|rotary|rotary_emb\w*|rms_?norm|residual)|scale_attn\w*|(pre_?norm|norm_first)"
)
# Names of one quantity in different classes.
_SAME = (
    ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "embedding_size", "model_dim"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num"),
    ("intermediate_size", "d_inner", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size", "hidden_dim"),
    ("head_dim", "kv_channels", "attention_head_size", "attention_head_dim"),
    ("vocab_size", "padded_vocab_size"),
    ("hidden_act", "activation_function", "activation", "hidden_activation"),
    ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_epsilon", "norm_eps"),
)


def has_an_unneeded_name(key: str) -> bool:
    """Whether a setting of that name says nothing of a network that is scored, whatever its value."""
    return bool(_UNNEEDED.fullmatch(key))


def is_unneeded(key: str, value: Any, settings: Mapping[str, Any], taken: Any, known: Set[str]) -> bool:
    """Whether a setting that the class does not know says nothing of the network, or what is known already.

    Args:
        key: its name in config.json.
        value: what it says there.
        settings: all of that config.json, or of the part.
        taken: what the library made of it.
        known: names of settings that the class has.
    """
    if has_an_unneeded_name(key) or value is None or value in ("", [], {}):
        return True
    if isinstance(value, bool | int | float) and not value and not _ON_BY_ITSELF.fullmatch(key):
        return True
    if any(value == neutral and type(value) in (type(neutral), float) for neutral in _NEUTRAL.get(key, ())):
        return True
    others = {name for names in _SAME if key in names for name in names if name in known}
    if any(getattr(taken, name, None) == value for name in others):
        return True
    return _follows(key, value, settings)


def _follows(key: str, value: Any, settings: Mapping[str, Any]) -> bool:
    if key == "layer_types":
        return isinstance(value, list) and set(map(str, value)) == {"full_attention"}
    if key == "num_key_value_heads":
        return bool(value == settings.get("num_attention_heads"))
    if key == "head_dim":
        heads, width = settings.get("num_attention_heads"), settings.get("hidden_size")
        return isinstance(heads, int) and isinstance(width, int) and heads > 0 and value * heads == width
    return bool(key in ("sliding_window", "max_window_layers") and settings.get("use_sliding_window") is False)
