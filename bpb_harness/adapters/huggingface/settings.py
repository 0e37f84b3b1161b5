"""``config.json`` as ``transformers`` takes it: what reaches the library, and what it must not pass over."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from bpb_harness.adapters.huggingface.rotary_settings import is_taken, require_agreeing
from bpb_harness.adapters.huggingface.unneeded_settings import is_unneeded
from bpb_harness.adapters.huggingface.unread_settings import first_unread
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
_WINDOWS = ("sliding_window", "attention_window_size", "attention_chunk_size", "local_attention", "window_size")
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
    """Refuse settings that the library does not know for the model, and those that contradict each other.

    A setting is a field of the model's class of settings that some code of the library reads, or read by the model's
    code, or one of a closed list that cannot change an answer; whatever else stands there may decide the output.

    Args:
        checkpoint: its ``config`` is config.json.
        config: what the library made of it.
        network: what the library built of that.

    Raises:
        CheckpointError: naming the first.
    """
    code = _source_of(config) + _source_of(network)
    for place, settings, taken in _parts_of("", checkpoint.config, config):
        require_agreeing(checkpoint.path.name, settings, taken)
        _require_one_value(checkpoint.path.name, settings, taken)
        known = names_known_to(type(taken))
        for key in sorted(settings.keys() - known):
            value = settings[key]
            is_said = is_taken(key, value, taken) or is_unneeded(key, value, settings, taken, known)
            if is_said or _is_read_by(code, key):
                continue
            raise CheckpointError(
                f"{checkpoint.path.name}: transformers {_version()} does not know the setting {place}{key} "
                f"for {taken.model_type!r}, and it may decide the output",
                seen=repr(value)[:80],
                expected="a setting of that class",
                hint=f"install the version that wrote the folder ({written_by(checkpoint)}), "
                "or score the network by its own code: --model FILE.py:LOADER --allow-code",
            )
        _require_sight(checkpoint.path.name, place, settings, taken)
        unread = first_unread(config, place, settings, taken, network)
        if unread is not None:
            raise CheckpointError(
                f"{checkpoint.path.name}: config.json sets {place}{unread}, which transformers {_version()} has a "
                "field for and never reads: what it builds may be another network than was trained",
                seen=repr(settings[unread])[:80],
                expected="what every network of that type in transformers has",
                hint="score the network by its own code: --model FILE.py:LOADER --allow-code",
            )


def _parts_of(place: str, settings: Mapping[str, Any], taken: Any) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The settings, and those of each part of a composite model."""
    yield place, settings, taken
    for key in getattr(type(taken), "sub_configs", None) or {}:
        inner, made = settings.get(key), getattr(taken, key, None)
        if isinstance(inner, Mapping) and hasattr(made, "model_type"):
            yield from _parts_of(f"{place}{key}.", inner, made)


def _require_one_value(folder: str, settings: Mapping[str, Any], taken: Any) -> None:
    """Refuse n_embd beside another hidden_size, where the class takes both for one."""
    for one, other in (getattr(taken, "attribute_map", None) or {}).items():
        if one in settings and other in settings and settings[one] != settings[other]:
            raise CheckpointError(
                f"{folder}: config.json gives one setting two values",
                seen=f"{one} {settings[one]!r} and {other} {settings[other]!r}",
                expected="one value",
                hint="take the one out that the weights do not have",
            )


def _require_sight(folder: str, place: str, settings: Mapping[str, Any], taken: Any) -> None:
    """Refuse a window of attention of no token: the library hides all tokens then, where some code means no window."""
    kinds = getattr(taken, "layer_types", None)
    is_used = kinds is None or any("full" not in str(kind) for kind in kinds)
    if not is_used or getattr(taken, "use_sliding_window", None) is False:
        return
    for key in _WINDOWS:
        value = settings.get(key)
        if type(value) is int and value <= 0 and getattr(taken, key, None) == value:
            raise CheckpointError(
                f"{folder}: {place}{key} in config.json",
                seen=value,
                expected="1 or more, or null for none: transformers takes it for a window that shows nothing",
                hint="if every token sees all before it, set it to null, or, where the class needs a window, to the "
                "longest row; else to the tokens of the window",
            )


def _is_read_by(code: str, key: str) -> bool:
    """Whether a model's module reads a setting that no class states: getattr(config, "head_dim", None)."""
    name = re.escape(key)
    reads = rf"""\bconfig\.{name}\b | (?:getattr|hasattr)\(\s*\w*\.?config\s*,\s*["']{name}["']
        | kwargs\.(?:get|pop)\(\s*["']{name}["'] | kwargs\[["']{name}["']\] | ["']{name}["']\ in\ kwargs"""
    return bool(re.search(reads, code, re.VERBOSE))


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
