"""A network that is in memory already, as what a checkpoint gives: ``bpb_harness.evaluate(network, ...)``.

Nothing is read, so nothing is known but what the object says and what the user passes. The object itself is never
moved, and is left as it was found: modules that were training train again, and no gradient is recorded.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import ismethod, signature
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.contract.own_state import modules_of
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.distributed import pick_device
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import DEFAULTS, Settings, as_paths
from bpb_harness.networks.layers import autocast
from bpb_harness.schedule import NoiseSchedule, parse_schedule

_NAMED = "a network in memory"
_KINDS = "a path, a Denoiser or a CausalLM (bpb_harness.denoiser)"
_OF_CHECKPOINTS = ("adapter", "weights", "model", "allow_code")
_SPLIT = {"hidden": 2, "head": 1}  # arguments of the methods that make a denoiser a factored one
_COMPILED_PREFIX = "_orig_mod."
_BFLOAT16 = "bfloat16"


@final
class InMemory:
    """A network in memory, ready to be scored.

    Args:
        network: the object.
        settings: how it is scored.

    Raises:
        UsageError: if it is no network, or something is missing that a checkpoint would have said.
    """

    def __init__(self, network: object, settings: Settings) -> None:
        _require_network(network)
        for name in _OF_CHECKPOINTS:
            if getattr(settings, name) != DEFAULTS[name]:
                raise UsageError(
                    f"{name}={getattr(settings, name)!r} says how to read a checkpoint",
                    seen=f"{_NAMED}, {_kind(network)}",
                    expected="the path of a checkpoint",
                    hint=f"leave out {name}",
                )
        self._modules = list(modules_of(network))
        self._tensors = dict(_tensors(self._modules))
        self.device = _device_of(self._tensors, settings.device)
        _require_dtype(self._tensors, settings.dtype)
        schedule = _stated_schedule(network)
        _require_told(network, settings, has_schedule=schedule is not None, has_tensors=bool(self._tensors))
        digest = _digest_of(self._tensors) if self._tensors else hashlib.sha256(f"{settings.name}".encode()).hexdigest()
        label = re.sub(r"[^\w.@+-]", "_", settings.name or _kind(network))
        notes = [
            f"{_NAMED}, a {_kind(network)}: no other process can build it, so it is asked a second time in this one"
        ]
        if not self._tensors:
            notes.append("it has no parameters: the signature's digest is that of its name alone")
        model = _callable_from_outside(network, settings.torch_dtype())
        self.checkpoint = Checkpoint(Path(_NAMED), "memory", digest, {})
        self.adapted = AdaptedModel(model, f"in-memory/{label}", schedule, tuple(notes))

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Evaluation mode for as long as this is open; afterwards each module is in the mode that it was in."""
        training = [part for _, module in self._modules for part in module.modules() if part.training]
        try:
            for part in training:
                part.training = False
            yield
        finally:
            for part in training:
                part.training = True


def _kind(network: object) -> str:
    return type(network).__name__


def _require_network(network: object) -> None:
    """Refuse what is neither a denoiser nor a causal model, with what it lacks."""
    if isinstance(network, type):
        raise UsageError(
            "evaluate: what is scored",
            seen=f"the class {network.__name__}",
            expected=_KINDS,
            hint="pass an object of that class",
        )
    lacks = [name for name in ("logits", "vocab_size", "context_length") if not hasattr(network, name)]
    is_masked = any(hasattr(network, name) for name in ("mask_token_id", "time_conditioned"))
    if is_masked or lacks:
        lacks += [name for name in ("mask_token_id", "time_conditioned") if is_masked and not hasattr(network, name)]
    if lacks:
        inner = getattr(network, "module", None)
        wrapped = isinstance(inner, nn.Module) and all(hasattr(inner, name) for name in lacks)
        raise UsageError(
            "evaluate: what is scored",
            seen=f"{_kind(network)}, which has no {', no '.join(lacks)}",
            expected=_KINDS,
            hint="pass its .module" if wrapped else "docs/training-loop.md shows what a network must have",
        )
    logits = getattr(network, "logits", None)
    if not callable(logits) or isinstance(logits, nn.Module):
        raise UsageError(f"{_kind(network)}.logits", seen=_kind(logits), expected="a method")
    for name, least in (("vocab_size", 1), ("context_length", 1), ("mask_token_id", 0)):
        if hasattr(network, name):
            _require_integer(network, name, least)
    told = getattr(network, "time_conditioned", False)
    if _kind(told) not in {"bool", "bool_"}:
        raise UsageError(f"{_kind(network)}.time_conditioned", seen=repr(told), expected="True or False")


def _require_integer(network: object, name: str, least: int) -> None:
    value = getattr(network, name)
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise UsageError(f"{_kind(network)}.{name}", seen=repr(value), expected=f"a whole number, {least} or more")


def _require_told(network: object, settings: Settings, *, has_schedule: bool, has_tensors: bool) -> None:
    """Refuse together all that a checkpoint would have said and nobody says."""
    is_masked, missing = hasattr(network, "mask_token_id"), []
    if settings.tokenizer is None and (as_paths(settings.data) or as_paths(settings.docs)):
        missing.append("tokenizer=FILE, whose pieces its token ids are")
    if is_masked and settings.schedule is None and not has_schedule:
        missing.append("schedule='loglinear[0.001]', or another, that it was trained with")
    if not has_tensors and not settings.name:
        missing.append("name=TEXT, which stands in the signature for the digest of parameters that it does not have")
    if missing:
        raise UsageError(
            f"{_NAMED}, {_kind(network)}, does not say all that a checkpoint says",
            hint=f"pass {'; and '.join(missing)}",
        )
    if not is_masked and not METHODS[settings.method].is_causal:
        raise UsageError(
            f"--method {settings.method}",
            seen=f"{_kind(network)}, which has no mask_token_id: an autoregressive model",
            expected="--method ar",
            hint="a masked denoiser has mask_token_id and time_conditioned",
        )
    if settings.resume is not None and not has_tensors:
        raise UsageError(
            "--resume", seen=f"{_NAMED} without parameters", expected="one whose digest tells whose draws a file keeps"
        )


def _tensors(modules: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, Tensor]]:
    for path, module in modules:
        for name, value in module.state_dict().items():
            if isinstance(value, Tensor):
                if is_lazy(value):
                    raise UsageError(
                        f"{_NAMED}: {path}{name}", seen="no value yet", expected="a parameter with numbers"
                    )
                yield path + name.replace(_COMPILED_PREFIX, ""), value.detach()


def _device_of(tensors: dict[str, Tensor], wanted: str) -> str:
    """Where the network is, as a setting; of one without parameters, what the settings say, or else a CPU."""
    if not tensors:
        return "cpu" if wanted == "auto" else wanted
    devices = {str(value.device): name for name, value in reversed(tensors.items())}  # with the first there
    kinds = sorted({value.device.type for value in tensors.values()})
    if len(devices) > 1 or kinds[0] not in {"cpu", "cuda"}:
        places = ", ".join(f"{name} on {device}" for device, name in sorted(devices.items()))
        raise UsageError(f"{_NAMED}", seen=places, expected="all parameters on one device, cpu or cuda")
    here = next(iter(tensors.values())).device
    if wanted not in {"auto", here.type}:
        raise UsageError(
            f"--device {wanted}", seen=f"parameters on {here}", expected=f"device={here.type!r}",
            hint="a network in memory is scored where it is: move it first",
        )  # fmt: skip
    chosen = pick_device(here.type)
    current = torch.cuda.current_device() if here.type == "cuda" else 0
    if here.type == "cuda" and (chosen.index if chosen.index is not None else current) != here.index:
        raise UsageError(_NAMED, seen=f"parameters on {here}", expected=f"{chosen}, this process's device")
    return here.type


def _require_dtype(tensors: dict[str, Tensor], dtype: str) -> None:
    """Refuse to call low precision what is not, or the other way round."""
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.is_floating_point()})
    low = [kind for kind in kinds if kind not in {"float32", "float64"}]
    if low and not (low == [_BFLOAT16] and dtype == _BFLOAT16):
        raise UsageError(
            f"dtype={dtype!r}",
            seen=f"parameters in {', '.join(kinds)}",
            expected="dtype='bfloat16'" if low == [_BFLOAT16] else "parameters in float32, or in bfloat16",
            hint=f"dtype={_BFLOAT16!r} says so in the signature" if low == [_BFLOAT16] else "convert the network first",
        )


def _digest_of(tensors: dict[str, Tensor]) -> str:
    """sha256 of the names, types, shapes and bits of parameters and kept buffers, in order of name; hex."""
    whole = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        whole.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        dense = (value if value.layout == torch.strided else value.to_dense()).resolve_conj().resolve_neg()
        flat = dense.cpu().contiguous().flatten()
        whole.update(flat.clone().view(torch.uint8).numpy().data if len(flat) else b"")
    return whole.hexdigest()


def _stated_schedule(network: object) -> NoiseSchedule | None:
    stated = getattr(network, "schedule", None)
    return parse_schedule(stated) if isinstance(stated, str) else stated if isinstance(stated, NoiseSchedule) else None


def _callable_from_outside(network: Any, dtype: torch.dtype) -> Denoiser | CausalLM:
    """The network with its answers free of gradients, in the arithmetic of the settings.

    What it keeps of a call, such as a table of angles, must serve training later: it is called outside inference mode,
    whose tensors autograd refuses. Only methods of the object itself count as the optional protocols of a denoiser: an
    attribute that happens to be called ``hidden`` or ``head`` does not.
    """
    values: dict[str, Any] = {name: int(getattr(network, name)) for name in ("vocab_size", "context_length")}
    methods = ["logits"]
    if hasattr(network, "mask_token_id"):
        values |= {"mask_token_id": int(network.mask_token_id), "time_conditioned": bool(network.time_conditioned)}
        values |= {"is_stateless": getattr(network, "is_stateless", False) is True}
        if all(_takes(network, name, count) for name, count in _SPLIT.items()):
            methods += [*_SPLIT, *(["hidden_at"] if _takes(network, "hidden_at", 3) else [])]
        methods += ["logits_given"] if _takes(network, "logits_given", 3) else []
        if _takes(network, "block_logits", 3):
            methods.append("block_logits")
            values["block_size"] = _block_size(network)
    namespace = {name: staticmethod(_quiet(getattr(network, name), dtype)) for name in methods}
    outside: Any = type(_kind(network), (), namespace | values | {"__doc__": _NAMED})()
    outside.network = network  # where the contract looks for parameters
    scorable: Denoiser | CausalLM = outside
    return scorable


def _block_size(network: Any) -> int:
    size = getattr(network, "block_size", None)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= network.context_length:
        raise UsageError(
            f"{_kind(network)}, which has block_logits: block_size",
            seen="none" if size is None else repr(size),
            expected=f"a number of tokens from 1 to its context of {network.context_length}",
        )
    return size


def _takes(network: object, name: str, count: int) -> bool:
    """Whether an object has a method of so many arguments."""
    method = getattr(network, name, None)
    if not ismethod(method):
        return False
    try:
        signature(method).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _quiet(method: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
    @wraps(method)
    def call(*inputs: Any) -> Tensor:
        device = next(each for each in inputs if isinstance(each, Tensor)).device
        with torch.inference_mode(False), torch.no_grad(), autocast(device, dtype):
            return method(*inputs)

    return call


def require_no_name(settings: Settings) -> None:
    """Refuse a name for what lies in a file."""
    if settings.name is not None:
        raise UsageError(
            f"name={settings.name!r}", seen="a path", expected="a network in memory", hint="leave out name"
        )
