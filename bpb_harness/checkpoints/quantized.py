"""Weights stored as integer levels and the worth of a level."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpb_harness.checkpoints.names import tensors_of, without_wrappers
from bpb_harness.errors import CheckpointError


def dequantize(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of the contest's int8 files: int8 rows times their scales, the rest passed through; and other entries.

    Raises:
        CheckpointError: if a part is missing, is of another type, or says something that this format does not.
    """
    parts = {key: without_wrappers(tensors_of(content.get(key, {}), f"{path.name}: {key}"), path) for key in _TENSORS}
    levels, passed = parts["quantized"], parts["passthrough"]
    if name := min(levels.keys() & passed.keys(), default=None):
        raise CheckpointError(f"{path.name}: tensor both quantized and passed through", seen=name)
    if content.get("__quant_format__") not in (None, "int8_clean_per_row_v1"):
        raise CheckpointError(
            f"{path.name}: __quant_format__", seen=repr(content["__quant_format__"]), expected="int8_clean_per_row_v1"
        )
    _require_plain_rows(_strings(content, "qmeta", path), path)
    dtypes, originals = _strings(content, "dtypes", path), _strings(content, "passthrough_orig_dtypes", path)
    tensors = {
        name: rows.to(_dtype(path, name, dtypes.get(name, "float32")))
        for name, rows in rows_times_scales(levels, parts["scales"], path).items()
    }
    for name, value in passed.items():
        tensors[name] = value.to(_dtype(path, name, originals[name])) if name in originals else value
    return tensors, {key: value for key, value in content.items() if key not in _PARTS}


_LEVELS = {"int8": 127, "int6": 31, "int5": 15}
_PASSED = ("passthrough", "passthrough_ctrl", "passthrough_fp16")


def holds_mixed_levels(content: Mapping[Any, Any]) -> bool:
    """Whether a file says of its weights, under ``m``, how each is stored under ``w``."""
    told = content.get("m")
    if content.keys() != {"w", "m"} or not isinstance(content["w"], dict) or not isinstance(told, dict):
        return False
    return any(
        how in _PASSED if isinstance(how, str) else isinstance(how, dict) and "type" in how for how in told.values()
    )


def dequantize_mixed(stored: Mapping[str, Any], told: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Weights of the contest's files of mixed levels: ``NAME.q`` times ``NAME.scale`` a row, or ``NAME`` itself.

    Args:
        stored: tensors, under ``w``.
        told: how each weight is stored, under ``m``.
        path: of the file.

    Raises:
        CheckpointError: for a way of storing that this format does not have, levels beyond it, or tensors left over.
    """
    parts = tensors_of(stored, f"{path.name}: w")
    levels: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    for name, how in told.items():
        kind = how.get("type") if isinstance(how, dict) and len(how) == 1 else None
        needed = [f"{name}.q", f"{name}.scale"] if kind in _LEVELS else [name]
        if kind not in _LEVELS and how not in _PASSED:
            known = ", ".join([*_LEVELS, *_PASSED])
            raise CheckpointError(f"{path.name}: m of {name}", seen=str(how)[:80], expected=f"one of {known}")
        if missing := [each for each in needed if each not in parts]:
            raise CheckpointError(f"{path.name} lacks the tensor {missing[0]}, which m names")
        if kind not in _LEVELS:
            tensors[name] = parts.pop(name)
            continue
        levels[name], scales[name] = (parts.pop(each) for each in needed)
        most = int(levels[name].to(torch.int16).abs().max()) if levels[name].numel() else 0
        if most > _LEVELS[kind] + 1:
            raise CheckpointError(f"{path.name}: levels of {name}", seen=most, expected=f"those of {kind}")
    if parts:
        raise CheckpointError(f"{path.name}: tensors in w that m does not name", seen=", ".join(list(parts)[:6]))
    tensors |= rows_times_scales(levels, scales, path)
    tables = {name: values.bfloat16() for name, values in tensors.items() if name.endswith(_TABLES)}
    return without_wrappers(tensors | tables, path)


# The networks that these files are read back into keep their tables of tokens in bfloat16.
_TABLES = ("tok_emb.weight", ".embed.weight")


_TENSORS = ("quantized", "scales", "passthrough")
_PARTS = (*_TENSORS, "dtypes", "passthrough_orig_dtypes", "qmeta", "__quant_format__")


def _strings(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name}: {key}", seen=type(value).__name__, expected="a dictionary")
    return {str(name): item for name, item in value.items()}


def _require_plain_rows(schemes: Mapping[str, Any], path: Path) -> None:
    """Refuse a scheme of rounding other than a scale a row."""
    for name, scheme in schemes.items():
        if scheme not in ({"scheme": "per_row", "axis": 0}, {"scheme": "per_row"}):
            raise CheckpointError(f"{path.name}: qmeta of {name}", seen=scheme, expected="per_row along axis 0")


def rows_times_scales(quantized: Mapping[str, Tensor], scales: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Float32 tensors from integer levels and the worth of a level in each row, or in all.

    Raises:
        CheckpointError: if levels are no integers, or scales are missing, left over, of another shape or no numbers.
    """
    if name := min(scales.keys() - quantized.keys(), default=None):
        raise CheckpointError(f"{path.name}: scales of {name}, which has no levels")
    tensors: dict[str, Tensor] = {}
    for name, rows in quantized.items():
        if rows.dtype != torch.int8:
            raise CheckpointError(f"{path.name}: levels of {name}", seen=rows.dtype, expected="torch.int8")
        scale = scales.get(name)
        if scale is None or scale.ndim > min(1, rows.ndim) or (scale.ndim == 1 and scale.shape[0] != rows.shape[0]):
            raise CheckpointError(
                f"{path.name}: scales of {name}",
                seen=None if scale is None else list(scale.shape),
                expected="one a row",
            )
        if scale.dtype not in _FLOATS.values():
            raise CheckpointError(f"{path.name}: scales of {name}", seen=scale.dtype, expected="floats")
        factor = scale.float().reshape(-1, *[1] * (rows.ndim - 1)) if scale.ndim else scale.float()
        tensors[name] = rows.float() * factor
    return tensors


_FLOATS = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}


def _dtype(path: Path, name: str, stated: Any) -> torch.dtype:
    found = _FLOATS.get(str(stated).removeprefix("torch."))
    if found is None:
        raise CheckpointError(
            f"{path.name}: type of {name}", seen=repr(stated), expected=f"one of {', '.join(_FLOATS)}"
        )
    return found
