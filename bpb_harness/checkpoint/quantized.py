"""Weights stored as integer levels and the worth of a level."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpb_harness.checkpoint.names import tensors_of
from bpb_harness.errors import CheckpointError


def dequantize(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Weights of the contest's int8 files: int8 rows times their scales, and the rest passed through."""
    quantized, passthrough = tensors_of(content["quantized"], path), tensors_of(content["passthrough"], path)
    scales, dtypes = tensors_of(content.get("scales"), path), content.get("dtypes") or {}
    originals = content.get("passthrough_orig_dtypes") or {}
    tensors: dict[str, Tensor] = {}
    for name, rows in rows_times_scales(quantized, scales, path).items():
        tensors[name] = rows.to(_dtype(dtypes.get(name), rows=torch.float32))
    for name, value in passthrough.items():
        tensors[name] = value.to(_dtype(originals.get(name), rows=value.dtype))
    return tensors


def rows_times_scales(quantized: Mapping[str, Tensor], scales: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Float32 tensors from integer levels and the worth of a level in each row, or in all."""
    tensors: dict[str, Tensor] = {}
    for name, rows in quantized.items():
        scale = scales.get(name)
        if scale is None or scale.ndim > min(1, rows.ndim) or (scale.ndim == 1 and scale.shape[0] != rows.shape[0]):
            raise CheckpointError(
                f"{path.name}: scales of {name}",
                seen=None if scale is None else list(scale.shape),
                expected="one a row",
            )
        factor = scale.float().reshape(-1, *[1] * (rows.ndim - 1)) if scale.ndim else scale.float()
        tensors[name] = rows.float() * factor
    return tensors


def _dtype(name: Any, *, rows: torch.dtype) -> torch.dtype:
    known = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
    return known.get(str(name).removeprefix("torch."), rows)
