"""A network that is in memory already, as what a checkpoint gives: ``bpb_harness.evaluate(network, ...)``.

Nothing is read, so nothing is known but what the object says and what the user passes. The object itself is never
moved, and is left as it was found: modules that were training train again, and no gradient is left.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.distributed import pick_device
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS, either, names
from bpb_harness.evaluation.settings import DEFAULTS, Settings, as_paths
from bpb_harness.network_modules import modules_of
from bpb_harness.network_object import by_its_methods, kind_of, require_network
from bpb_harness.schedule import stated_schedule

_NAMED = "a network in memory"
_KINDS = "a path, a Denoiser or a CausalLM (bpb_harness.denoiser)"
_OF_CHECKPOINTS = ("adapter", "golf_preset", "golf_setting", "weights", "model", "allow_code")
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
        require_network(network, "evaluate: what is scored", _KINDS)
        for name in _OF_CHECKPOINTS:
            if getattr(settings, name) != DEFAULTS[name]:
                raise UsageError(
                    f"{name}={getattr(settings, name)!r} says how to read a checkpoint",
                    seen=f"{_NAMED}, {kind_of(network)}",
                    expected="the path of a checkpoint",
                    hint=f"leave out {name}",
                )
        self._modules = list(modules_of(network))
        self._tensors = dict(_tensors(self._modules))
        self.device = _device_of(self._tensors, settings.device)
        _require_dtype(self._tensors, settings.dtype)
        schedule = stated_schedule(network)
        settings = settings.for_network(is_causal=not hasattr(network, "mask_token_id"))
        _require_told(network, settings, has_schedule=schedule is not None, has_tensors=bool(self._tensors))
        digest = _digest_of(self._tensors) if self._tensors else hashlib.sha256(f"{settings.name}".encode()).hexdigest()
        label = re.sub(r"[^\w.@+-]", "_", settings.name or kind_of(network))
        notes = [
            f"{_NAMED}, a {kind_of(network)}: no other process can build it, so it is asked a second time in this one"
        ]
        if not self._tensors:
            notes.append("it has no parameters: the signature's digest is that of its name alone")
        model: Denoiser | CausalLM = by_its_methods(network, partial(_quiet, dtype=settings.torch_dtype()))
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


def _require_told(network: object, settings: Settings, *, has_schedule: bool, has_tensors: bool) -> None:
    """Refuse together all that a checkpoint would have said and nobody says."""
    is_masked, missing = hasattr(network, "mask_token_id"), []
    if is_masked and METHODS[settings.method].is_causal:
        raise UsageError(
            f"--method {settings.method}", seen=f"{kind_of(network)}, which has a mask_token_id: a masked denoiser",
            expected=f"--method {either(names(lambda row: not row.is_causal))}",
        )  # fmt: skip
    if settings.tokenizer is None and (as_paths(settings.data) or as_paths(settings.docs)):
        missing.append("tokenizer=FILE, whose pieces its token ids are")
    if is_masked and settings.schedule is None and not has_schedule:
        missing.append("schedule='loglinear[0.001]', or another, that it was trained with")
    if not has_tensors and not settings.name:
        missing.append("name=TEXT, which stands in the signature for the digest of parameters that it does not have")
    if missing:
        raise UsageError(
            f"{_NAMED}, {kind_of(network)}, does not say all that a checkpoint says",
            hint=f"pass {'; and '.join(missing)}",
        )
    if not is_masked and not METHODS[settings.method].is_causal:
        raise UsageError(
            f"--method {settings.method}",
            seen=f"{kind_of(network)}, which has no mask_token_id: an autoregressive model",
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


def _quiet(method: Callable[..., Tensor], *, dtype: torch.dtype) -> Callable[..., Tensor]:
    """Answers in the arithmetic of the settings; they record gradients where the caller does: while it adapts.

    What a network keeps of a call, such as a table of angles, must serve training later: so it is called outside
    inference mode, whose tensors autograd refuses.
    """

    @wraps(method)
    def call(*inputs: Any) -> Tensor:
        device = next(each for each in inputs if isinstance(each, Tensor)).device
        low = dtype == torch.bfloat16  # and not as the caller's own autocast has it
        records = torch.set_grad_enabled(torch.is_grad_enabled())
        with torch.inference_mode(False), records, torch.autocast(device.type, torch.bfloat16, enabled=low):
            return method(*inputs)

    return call


def require_no_name(settings: Settings) -> None:
    """Refuse a name for what lies in a file."""
    if settings.name is not None:
        raise UsageError(
            f"name={settings.name!r}", seen="a path", expected="a network in memory", hint="leave out name"
        )
