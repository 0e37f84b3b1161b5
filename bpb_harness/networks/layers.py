"""What the networks of several adapters share: being filled from tensors, autocast, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional, init
from torch.overrides import TorchFunctionMode


def rms_norm(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last dimension, without weights."""
    return functional.rms_norm(x, (x.shape[-1],))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast as public evaluators use it: float32 weights, bfloat16 products; off for float32."""
    # Not autocast(enabled=False): that is an operation of its own in an exported program. And none within another: a
    # graph that enters one is traced and lowered anew in every process, for torch keeps programs of other graphs alone.
    if torch.compiler.is_compiling() and dtype == torch.bfloat16 and is_autocast(device):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16) if dtype == torch.bfloat16 else nullcontext()


def is_autocast(device: torch.device) -> bool:
    """Whether products on a device are autocast to bfloat16 here."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16


def count_blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many consecutive ``prefix.N.`` there are, from 0."""
    numbers = {name[len(prefix) + 1 :].split(".", 1)[0] for name in tensors if name.startswith(prefix + ".")}
    count = 0
    while str(count) in numbers:
        count += 1
    return count


def ready(module: nn.Module, device: torch.device) -> None:
    """Evaluation mode, no gradients, on the device."""
    module.eval().requires_grad_(False).to(device)


_DRAWS = frozenset(
    {
        Tensor.uniform_, Tensor.normal_, init.uniform_, init.normal_, init.trunc_normal_, init.kaiming_uniform_,
        init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_,
    }
)  # fmt: skip


@final
class NothingDrawn(TorchFunctionMode):
    """Within it torch's initialisers leave NaN behind: a weight that nothing takes the place of gives no score.

    A network that is filled from a checkpoint needs no others. Drawing takes a second for 70 million weights, on one
    core, and for weights without memory imports torch's compiler.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        """See torch.overrides."""
        del types
        named = named or {}
        if function not in _DRAWS:
            return function(*arguments, **named)
        tensor: Tensor = arguments[0] if arguments else named["tensor"]
        with torch.no_grad():
            return tensor.fill_(math.nan)
