"""An object that is to be a network: what it must have, and which of its attributes are the methods of a protocol."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from inspect import ismethod, signature
from typing import Any

from torch import Tensor, nn

from bpb_harness.denoiser import Denoiser, own_block_size
from bpb_harness.errors import UsageError

# The optional methods of a denoiser, and how many arguments each takes.
_OPTIONAL = {"hidden": 2, "head": 1, "hidden_at": 3, "logits_given": 3, "block_logits": 3, "block_hidden": 3}
_SPLIT = ("hidden", "head")
_HINT = "docs/training-loop.md shows what a network must have"


def require_network(network: object, what: str, expected: str, *, is_masked: bool = False) -> None:
    """Refuse what is neither a denoiser nor a causal model, with what it lacks.

    Args:
        network: any object.
        what: it is, in a message.
        expected: in its place.
        is_masked: only a denoiser will do; else an object without both of its own attributes is a causal model.

    Raises:
        UsageError: naming the attributes that are missing, or one that is not what it should be.
    """
    if isinstance(network, type):
        seen, hint = f"the class {network.__name__}", "pass an object of that class"
        raise UsageError(what, seen=seen, expected=expected, hint=hint)
    own = ("mask_token_id", "time_conditioned")
    lacks = [name for name in ("logits", "vocab_size", "context_length") if not hasattr(network, name)]
    if is_masked or any(hasattr(network, name) for name in own):
        lacks += [name for name in own if not hasattr(network, name)]
    if lacks:
        inner = getattr(network, "module", None)
        wrapped = isinstance(inner, nn.Module) and all(hasattr(inner, name) for name in lacks)
        seen, hint = f"{kind_of(network)}, which has no {', no '.join(lacks)}", "pass its .module" if wrapped else _HINT
        raise UsageError(what, seen=seen, expected=expected, hint=hint)
    logits = getattr(network, "logits", None)
    if not callable(logits) or isinstance(logits, nn.Module):
        raise UsageError(f"{kind_of(network)}.logits", seen=kind_of(logits), expected="a method")
    for name, least in (("vocab_size", 1), ("context_length", 1), ("mask_token_id", 0)):
        if hasattr(network, name):
            _require_integer(network, name, least)
    told = getattr(network, "time_conditioned", False)
    if kind_of(told) not in {"bool", "bool_"}:
        raise UsageError(f"{kind_of(network)}.time_conditioned", seen=repr(told), expected="True or False")


def kind_of(network: object) -> str:
    """The name of an object's class."""
    return type(network).__name__


def _require_integer(network: object, name: str, least: int) -> None:
    value = getattr(network, name)
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise UsageError(f"{kind_of(network)}.{name}", seen=repr(value), expected=f"a whole number, {least} or more")


def by_its_methods(network: Any, around: Callable[[Callable[..., Tensor]], Callable[..., Tensor]]) -> Any:
    """A network whose protocols are those that the object has methods for.

    An attribute that happens to be called ``hidden`` or ``head`` is no method of the object, and is left out.

    Args:
        network: an object that passed :func:`require_network`.
        around: makes the new method of each.

    Returns:
        A denoiser or causal model; its ``network`` is the object.

    Raises:
        UsageError: for a network of blocks that does not say how long they are.
    """
    values: dict[str, Any] = {name: int(getattr(network, name)) for name in ("vocab_size", "context_length")}
    methods = ["logits"]
    if hasattr(network, "mask_token_id"):
        values |= {"mask_token_id": int(network.mask_token_id), "time_conditioned": bool(network.time_conditioned)}
        values |= {"is_stateless": getattr(network, "is_stateless", False) is True}
        methods += _optional_methods(network)
        if "block_logits" in methods:
            values["block_size"] = required_block_size(network, kind_of(network))
        elif (size := own_block_size(network)) is not None:
            values["block_size"] = size
    namespace = {name: staticmethod(around(getattr(network, name))) for name in methods}
    outside: Any = type(kind_of(network), (), {**namespace, **values, "__doc__": "A network by its methods."})()
    outside.network = network  # where the contract looks for parameters
    if takes(network, "adapt", 1):
        outside.adapt = network.adapt
    return outside


def denoiser_of(network: Any) -> Denoiser:
    """The object as a denoiser: itself, unless an attribute would be taken for a method of a protocol."""
    found = [name for name in _OPTIONAL if hasattr(network, name)]
    if set(found) - set(_optional_methods(network)):
        network = by_its_methods(network, lambda method: method)
    denoiser: Denoiser = network
    return denoiser


def _optional_methods(network: object) -> list[str]:
    has = [name for name, count in _OPTIONAL.items() if takes(network, name, count)]
    splits, of_blocks = set(_SPLIT) <= set(has), "block_logits" in has
    left_out = set() if splits else {"hidden", "hidden_at"}
    if not of_blocks:
        left_out.add("block_hidden")
    if not splits and not (of_blocks and "block_hidden" in has):
        left_out.add("head")
    return [name for name in has if name not in left_out]


def required_block_size(network: Any, what: str) -> int:
    """Tokens of a block of a network that has ``block_logits``; ``what`` it is, in a message.

    Raises:
        UsageError: for none, or a size that its context cannot hold.
    """
    size, given, longest = own_block_size(network), getattr(network, "block_size", None), int(network.context_length)
    if size is not None:
        return size
    if isinstance(given, bool) or given != longest:  # one block may be all of a window
        raise UsageError(
            f"{what}, which has block_logits: block_size",
            seen="none" if given is None else repr(given),
            expected=f"a number of tokens from 1 to its context of {longest}",
        )
    return longest


def takes(network: object, name: str, count: int) -> bool:
    """Whether an object has a method of so many arguments."""
    method = getattr(network, name, None)
    return ismethod(method) and _binds(method.__func__, count + 1)


@lru_cache
def _binds(function: Callable[..., Any], count: int) -> bool:
    try:
        signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
