"""The tensors of a state dict by name, without what wrappers of a network put into the names.

``torch.compile``, DDP, FSDP and activation checkpointing wrap a network, or parts of it, in modules that add a word of
their own to the names: ``module._orig_mod.blocks.0._orig_mod.mlp.weight``. Some of these words never name a part of a
network and are always left out. Others may (``model.`` stands in many networks' own names): :func:`shorter_names`
tries without them only after the names as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpb_harness.checkpoints.record import EMA_PREFIX
from bpb_harness.errors import CheckpointError

# Words that no network uses for a part of itself.
_ALWAYS_LEFT_OUT = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"}
)
_PEFT = "base_model.model."
# Words of wrappers that networks use for their parts too.
_MAYBE_LEFT_OUT = frozenset({"module", "model", "net"})
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def split_tensors(content: Any, what: str) -> tuple[dict[str, Tensor], dict[Any, Any]]:
    """The tensors of a state dict under their names, and whatever else stands in it.

    Raises:
        CheckpointError: if it is no dictionary, or a tensor has no name.
    """
    if not isinstance(content, dict):
        raise CheckpointError(what, seen=type(content).__name__, expected="a state dict, tensors by name")
    tensors, rest = {}, {}
    for key, value in content.items():
        if not isinstance(value, Tensor):
            rest[key] = value
        elif isinstance(key, str):
            tensors[key] = value
        else:
            raise CheckpointError(f"{what}: a tensor under the key {key!r}", expected="a name")
    return tensors, rest


def tensors_of(content: Any, what: str) -> dict[str, Tensor]:
    """The tensors of a dictionary that holds nothing else.

    Raises:
        CheckpointError: if it is no dictionary of tensors by name.
    """
    tensors, rest = split_tensors(content, what)
    if rest:
        name, value = next(iter(rest.items()))
        raise CheckpointError(f"{what}: {name}", seen=type(value).__name__, expected="a tensor")
    return tensors


def without_wrappers(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under their names without the words that only wrappers use, and without DDP's before every name.

    Raises:
        CheckpointError: if two tensors end under one name, or all belong to a model of peft.
    """
    pairs = [(_without(_ALWAYS_LEFT_OUT, name), name) for name in tensors]
    if pairs and all(short.removeprefix("module.").startswith(_PEFT) for short, _ in pairs):
        raise CheckpointError(
            f"{path.name} holds a network inside a model of peft, whose adapters must be merged into it",
            seen=pairs[0][1],
            expected=f"names without {_PEFT}",
            hint="save merge_and_unload() of that model, and score what it gives",
        )
    while pairs and all(short.startswith("module.") for short, _ in pairs):
        pairs = [(short.removeprefix("module."), name) for short, name in pairs]
    require_distinct(pairs, path)
    return {short: tensors[name] for short, name in pairs}


def require_distinct(pairs: list[tuple[str, str]], path: Path) -> None:
    """Refuse two tensors whose names are one without the words of wrappers.

    Args:
        pairs: (name without them, name in the file).
        path: of the file.

    Raises:
        CheckpointError: naming both.
    """
    first: dict[str, str] = {}
    for short, name in pairs:
        if first.setdefault(short, name) != name:
            raise CheckpointError(
                f"{path.name} holds two tensors that are both {short} but for the words that wrappers add",
                seen=f"{first[short]} and {name}",
                hint="save one set of weights alone: torch.save(network.state_dict(), ...)",
            )


def shorter_names(tensors: Mapping[str, Tensor]) -> Iterator[list[tuple[str, str]]]:
    """Names that the tensors may have in a network, but for their own, longest first, as pairs (there, in the file).

    Without one after another of the words ``module``, ``model`` and ``net`` that all names begin with; then without
    these words wherever they stand.
    """
    pairs = [(name, name) for name in tensors]
    shorter = _one_word_less(pairs)
    while shorter is not None:
        yield shorter
        shorter = _one_word_less(shorter)
    bare = [(name if name.startswith(EMA_PREFIX) else _without(_MAYBE_LEFT_OUT, name), name) for name in tensors]
    if bare != pairs:
        yield bare


def _one_word_less(pairs: list[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """Without the wrapper's word that all names begin with; None where there is none."""
    own = [short for short, _ in pairs if not short.startswith(EMA_PREFIX)]
    first = {short.partition(".")[0] for short in own if "." in short}
    if len(first) != 1 or not first <= _MAYBE_LEFT_OUT or not all("." in short for short in own):
        return None
    return [(short if short.startswith(EMA_PREFIX) else short.partition(".")[2], name) for short, name in pairs]


def _without(words: frozenset[str], name: str) -> str:
    """The name without some of its words; its last word, the tensor's own, always stays."""
    *places, own = name.split(".")
    return ".".join([*(place for place in places if place not in words), own])


def require_weights(tensor: Tensor, what: str) -> None:
    """Refuse a tensor that cannot be a network's weights.

    Args:
        tensor: of any shape.
        what: the file and the tensor's name.

    Raises:
        CheckpointError: for raw levels without a scale (8-bit floats, integers), and for NaN or infinity.
    """
    if tensor.dtype not in _FLOATS:
        raise CheckpointError(
            what,
            seen=f"{tensor.dtype}",
            expected="floats of 16 bits or more",
            hint="multiply quantised weights by their scales and save the product",
        )
    # In one pass that keeps nothing: NaN is the least and the largest of what holds it.
    if tensor.numel() and not all(math.isfinite(end) for end in torch.stack(tensor.aminmax()).tolist()):
        num_bad = tensor.numel() - int(torch.isfinite(tensor).sum())
        raise CheckpointError(
            what,
            seen=f"{num_bad} of {tensor.numel()} values that are nan or infinite",
            expected="finite weights",
            hint="take a checkpoint from before training diverged",
        )
