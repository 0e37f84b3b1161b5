"""What the networks of several adapters share: taking tensors, autocast, norms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


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
