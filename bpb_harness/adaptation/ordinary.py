"""What a network keeps of a call, such as a table of angles, is made in inference mode while it is scored; autograd
refuses such tensors, so they become ordinary ones before the network learns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpb_harness.network_modules import modules_of

_PARTS_OF_MODULE = {"_parameters", "_buffers", "_modules"}
_DEEPEST = 3


def make_ordinary(network: object) -> None:
    """Put clones in the place of tensors of inference mode, among buffers and attributes of all modules."""
    with torch.inference_mode(False), torch.no_grad():
        for _, outermost in modules_of(network):
            for module in outermost.modules():
                _replace(module._buffers, _DEEPEST)
                kept = vars(module)
                for name in kept.keys() - _PARTS_OF_MODULE:
                    kept[name] = _ordinary(kept[name], _DEEPEST)


def _replace(kept: dict[Any, Any], depth: int) -> None:
    for name, value in list(kept.items()):
        kept[name] = _ordinary(value, depth)


def _ordinary(value: Any, depth: int) -> Any:
    """The value, or what stands for it; dictionaries and lists stay the same objects."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if depth and type(value) is dict:
        _replace(value, depth - 1)
    elif depth and type(value) is list:
        value[:] = [_ordinary(each, depth - 1) for each in value]
    elif depth and type(value) is tuple:
        parts = tuple(_ordinary(each, depth - 1) for each in value)
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    return value
