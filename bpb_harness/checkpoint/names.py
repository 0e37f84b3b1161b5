"""The tensors of a state dict by name, without what wrappers of a network put into the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from bpb_harness.errors import CheckpointError

_PREFIXES = ("_orig_mod.", "module.")


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, without the prefixes that torch.compile and DDP put before every name."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}: state dict", seen=type(content).__name__, expected="a dictionary")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
