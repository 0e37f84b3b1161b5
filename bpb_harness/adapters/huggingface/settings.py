"""``config.json`` as ``transformers`` takes it: what reaches the library, and what it must not pass over."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError

# How the library computes, not what: its own defaults are taken. Some of these name code to fetch and run.
_NOT_PASSED_ON = frozenset(
    {
        "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
        "experts_implementation", "_experts_implementation", "_experts_implementation_internal",
        "quantization_config", "compression_config", "quantization", "kernel_config", "fusion_config",
        "distributed_config", "transformers_weights", "configuration_files", "custom_generate", "auto_map",
        "dtype", "torch_dtype", "name_or_path", "_name_or_path", "_commit_hash", "output_attentions",
        "output_hidden_states", "return_dict", "use_return_dict", "torchscript", "use_cache",
    }
)  # fmt: skip
# Settings that change what a network computes wherever a class knows them. Met by a class that does not, they mean that
# the folder belongs to another version of the library, or to code of its own.
_DECIDING = frozenset(
    {
        "final_logit_softcapping", "attn_logit_softcapping", "logit_softcapping", "logits_soft_cap", "logit_cap",
        "logit_scale", "logits_scaling", "output_multiplier_scale", "lm_head_multiplier", "mup_width_scale",
        "embedding_multiplier", "embedding_multiplier_scale", "scale_emb", "scale_embedding", "scale_depth",
        "residual_multiplier", "residual_scale", "attention_multiplier", "attention_out_multiplier",
        "key_multiplier", "query_pre_attn_scalar", "qkv_clip", "clip_qkv",
        "sliding_window", "sliding_window_pattern", "layer_types", "attention_window", "attn_config", "no_rope_layers",
        "use_qk_norm", "qk_norm", "qk_layernorm", "use_parallel_residual", "parallel_attn", "alibi",
        "position_embedding_type", "rope_theta", "rope_scaling", "rotary_pct", "rotary_dim", "rotary_emb_base",
        "partial_rotary_factor", "pruned_heads", "embedding_size", "num_experts", "num_local_experts",
        "num_key_value_heads", "head_dim", "vision_config", "audio_config",
    }
)  # fmt: skip
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "logit_scale": (1,),
    "logits_scaling": (1,),
    "embedding_multiplier": (1,),
    "residual_multiplier": (1,),
    "rotary_pct": (1,),
    "partial_rotary_factor": (1,),
    "scale_emb": (1,),
    "lm_head_multiplier": (1,),
    "key_multiplier": (1,),
    "attention_out_multiplier": (1,),
}


_LISTS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_experts", "num_local_experts", "n_routed_experts",
)  # fmt: skip
_LONGEST_LIST = 10_000


def require_buildable(checkpoint: Checkpoint) -> None:
    """Refuse numbers of layers and experts that would keep the library building for hours.

    Raises:
        CheckpointError: above 10,000.
    """
    for key in _LISTS:
        value = checkpoint.config.get(key)
        if isinstance(value, int | float) and value > _LONGEST_LIST:
            raise CheckpointError(
                f"{checkpoint.path.name}: {key} in config.json", seen=value, expected=f"at most {_LONGEST_LIST}"
            )


def for_the_library(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what says how to compute; parts of composite models likewise."""
    return {key: _plain(value) for key, value in settings.items() if key not in _NOT_PASSED_ON}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        # How version 5 writes infinity, which JSON has no word for.
        return float(value["__float__"]) if set(value) == {"__float__"} else for_the_library(value)
    return value


def require_known(checkpoint: Checkpoint, config: Any, network: Any) -> None:
    """Refuse settings that decide the output and that the library does not know for the model.

    Args:
        checkpoint: its ``config`` is config.json.
        config: what the library made of it.
        network: what the library built of that.

    Raises:
        CheckpointError: naming the first.
    """
    known, code = names_known_to(type(config)), _source_of(config) + _source_of(network)
    for key in sorted(_DECIDING & checkpoint.config.keys()):
        value = checkpoint.config[key]
        taken = key in known or (key in _ROPE and _is_taken_as_rope(key, value, config))
        # Some are read though no class states them: getattr(config, "head_dim", ...).
        if taken or _is_neutral(key, value, checkpoint.config) or re.search(rf"\b{key}\b", code):
            continue
        raise CheckpointError(
            f"{checkpoint.path.name}: transformers {_version()} does not know the setting {key} "
            f"for {config.model_type!r}, and it may decide the output",
            seen=repr(value),
            expected="a setting of that class",
            hint=f"install the version that wrote the folder ({written_by(checkpoint)}), "
            "or score the network by its own code: --model FILE.py:LOADER --allow-code",
        )


def _source_of(thing: Any) -> str:
    """The text of the module that a class of the library stands in."""
    try:
        return inspect.getsource(sys.modules[type(thing).__module__])
    except (OSError, KeyError, TypeError):
        return ""


def written_by(checkpoint: Checkpoint) -> str:
    """The version of the library that the folder names."""
    return str(checkpoint.config.get("transformers_version") or "no transformers_version in config.json")


def versions(checkpoint: Checkpoint) -> str:
    """The folder's version and the installed one, in words."""
    return f"the folder was written by transformers {written_by(checkpoint)}, installed is {_version()}"


def _version() -> str:
    import transformers

    return str(transformers.__version__)


_ROPE = ("rope_theta", "rope_scaling", "rotary_pct", "rotary_emb_base", "partial_rotary_factor")


def names_known_to(kind: Any) -> set[str]:
    """Names that a class of settings takes or sets: those of its own, not what every class inherits."""
    named = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    for each in kind.__mro__:
        if each.__name__ in ("PreTrainedConfig", "PretrainedConfig"):
            break
        named |= set(vars(each))
        if (initializer := vars(each).get("__init__")) is not None:
            named |= set(inspect.signature(initializer).parameters)
    with suppress(Exception):  # some settings have no defaults that go together
        named |= set(vars(kind()))
    other = dict(getattr(kind, "attribute_map", None) or {})
    return named | other.keys() | set(other.values())


def _is_taken_as_rope(key: str, value: Any, config: Any) -> bool:
    """Whether version 5 has moved an old name of rotary settings into ``rope_parameters``."""
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return False
    if key == "rope_scaling":
        return isinstance(value, Mapping)
    held = [each for each in (parameters, *parameters.values()) if isinstance(each, Mapping)]
    new = {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"}.get(key, key)
    return any(each.get(new) == value for each in held)


def _is_neutral(key: str, value: Any, settings: Mapping[str, Any]) -> bool:
    if not value or value in _NEUTRAL.get(key, ()):
        return True
    if key == "layer_types":
        return isinstance(value, list) and set(value) == {"full_attention"}
    if key == "num_key_value_heads":
        return bool(value == settings.get("num_attention_heads"))
    if key == "head_dim":
        heads, width = settings.get("num_attention_heads"), settings.get("hidden_size")
        return isinstance(heads, int) and isinstance(width, int) and heads > 0 and value * heads == width
    if key == "embedding_size":
        return bool(value == settings.get("hidden_size"))
    return bool(key == "sliding_window" and settings.get("use_sliding_window") is False)
