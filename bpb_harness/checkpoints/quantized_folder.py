"""Folders of quantised weights: what a stored number is worth, where that is one simple formula; else a refusal.

Float8 weights with a scale a block, as DeepSeek-V3 publishes them and ``quant_method: fp8`` of transformers names them:
a block of ``weight_block_size`` rows and columns (128 by 128 where it is not stated) is worth its float8 values times
its entry of ``NAME_scale_inv``; where the block size is null, the whole tensor has one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import torch
from torch import Tensor

from bpb_harness.errors import CheckpointError

_SETTINGS = ("quantization_config", "compression_config", "quantization")
_SCALE = "_scale_inv"
_FLOAT8 = tuple(kind for kind in vars(torch).values() if isinstance(kind, torch.dtype) and "float8" in str(kind))
_PLAIN_FIRST = "save the model in bfloat16 or float32 (dequantize(), then save_pretrained) and score that folder"


def plain_weights(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], folder: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Undo the quantisation of a folder's weights.

    Args:
        tensors: as they are stored.
        config: config.json.
        folder: only named in messages.

    Returns:
        The tensors, float8 ones as float32, without the scales; and a sentence on what was done.

    Raises:
        CheckpointError: if they are quantised in another way, or scales and weights do not go together.
    """
    key = next((key for key in _SETTINGS if config.get(key)), None)
    float8 = [name for name, value in tensors.items() if value.dtype in _FLOAT8 and not name.endswith(_SCALE)]
    if key is None:
        if float8:
            raise CheckpointError(
                f"{folder}: {float8[0]} is stored in 8 bits",
                seen=tensors[float8[0]].dtype,
                expected="a quantization_config in config.json that says what its numbers are worth",
                hint=_PLAIN_FIRST,
            )
        return dict(tensors), ()
    settings = config[key]
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    scales = [name for name in tensors if name.endswith(_SCALE)]
    if key != "quantization_config" or method != "fp8" or not scales:
        seen = f"quant_method {method!r}" if method else f"{key} in config.json"
        raise CheckpointError(
            f"{folder}: quantised weights",
            seen=seen if scales or method != "fp8" else f"{seen} without tensors NAME{_SCALE}",
            expected=f"plain weights, or float8 with NAME{_SCALE} (quant_method 'fp8')",
            hint=_PLAIN_FIRST,
        )
    plain = {name: value for name, value in tensors.items() if name not in scales}
    unscaled = next((name for name in float8 if name + _SCALE not in tensors), None)
    if unscaled is not None:
        raise CheckpointError(f"{folder}: {unscaled} is stored in 8 bits and has no {unscaled}{_SCALE}")
    for scale in scales:
        name = scale.removesuffix(_SCALE)
        plain[name] = _times_scales(tensors, name, settings.get("weight_block_size", [128, 128]), folder)
    return plain, (f"{len(scales)} float8 tensors times their scales; activations are not rounded to float8",)


def _times_scales(tensors: Mapping[str, Tensor], name: str, block: Any, folder: str) -> Tensor:
    """What one float8 tensor is worth, (..., rows, columns) float32."""
    weight, scales = tensors.get(name), tensors[name + _SCALE]
    if weight is None or weight.dtype not in _FLOAT8:
        raise CheckpointError(
            f"{folder}: {name}{_SCALE} belongs to a float8 tensor {name}",
            seen="no such tensor" if weight is None else weight.dtype,
        )
    if block is None:
        expected: list[int] = []
        fits = scales.numel() == 1
    else:
        known = isinstance(block, list) and len(block) == 2 and all(type(n) is int and n > 0 for n in block)
        if not known or weight.ndim < 2:
            raise CheckpointError(f"{folder}: weight_block_size of {name}", seen=block, expected="[rows, columns]")
        expected = [*weight.shape[:-2], ceil(weight.shape[-2] / block[0]), ceil(weight.shape[-1] / block[1])]
        fits = list(scales.shape) == expected
    if not fits or not scales.is_floating_point():
        raise CheckpointError(
            f"{folder}: {name}{_SCALE}",
            seen=f"{list(scales.shape)} {scales.dtype}",
            expected=f"{expected or 'one number'}, floating-point",
        )
    factors = scales.float()
    if block is not None:
        rows, columns = weight.shape[-2:]
        factors = factors.repeat_interleave(block[0], -2)[..., :rows, :]
        factors = factors.repeat_interleave(block[1], -1)[..., :columns]
    else:
        factors = factors.reshape(())
    return weight.float() * factors
