"""The native format: what :func:`save_checkpoint` writes, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpb_harness.checkpoints.names import tensors_of, without_wrappers
from bpb_harness.checkpoints.plain import plain_values
from bpb_harness.checkpoints.quantized import rows_times_scales
from bpb_harness.checkpoints.record import FORMAT, FORMAT_VERSION, LARGEST_TOKENIZER, Checkpoint
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.whole_file import write_whole

TOKENIZER_TENSOR = "bpb_harness.tokenizer"
_KEYS = {"format", "format_version", "adapter", "config", "schedule", "tokenizer", "data", "tensors"}
_KEYS |= {"quantized", "scales"}


def from_native(path: Path, content: Mapping[str, Any], digest: str) -> Checkpoint:
    """The checkpoint that a native file's dictionary describes.

    Raises:
        CheckpointError: another version, a part of another type, scales that do not fit.
        UnsafeCheckpointError: data outside the checkpoint's folder.
    """
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name}: version of the native format",
            seen=version,
            expected=FORMAT_VERSION,
            hint="update bpb-harness",
        )
    tokenizer = content.get("tokenizer")
    if isinstance(tokenizer, Tensor):
        if tokenizer.dtype != torch.uint8 or tokenizer.numel() > LARGEST_TOKENIZER:
            raise CheckpointError(
                f"{path.name}: tokenizer", seen=f"{tokenizer.numel()} x {tokenizer.dtype}", expected="bytes of a file"
            )
        tokenizer = tokenizer.contiguous().numpy().tobytes()
    kinds: dict[str, type | tuple[type, ...]] = {
        "adapter": str,
        "config": dict,
        "schedule": (str, type(None)),
        "data": (dict, type(None)),
    }
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(f"{path.name}: {key!r}", seen=type(content.get(key)).__name__, expected=f"{kind}")
    if unknown := sorted(map(str, content.keys() - _KEYS)):
        raise CheckpointError(
            f"{path.name}: unknown entries", seen=", ".join(unknown[:6]), hint="update bpb-harness, or leave them out"
        )
    data = content.get("data")
    return Checkpoint(
        path,
        "native" if content.get("quantized") is None else "native-int8",
        digest,
        _tensors_of(content, path),
        adapter=content["adapter"],
        config=plain_values(content["config"]),
        schedule=content.get("schedule"),
        tokenizer=tokenizer,
        data=None if data is None else _checked_data(plain_values(data), path),
    )


def _tensors_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """What is stored as it is, and what is stored as rows of 8 bits and their scales."""

    def named(key: str) -> dict[str, Tensor]:
        return without_wrappers(tensors_of(content.get(key), f"{path.name}: {key}"), path)

    tensors = named("tensors")
    if content.get("quantized") is None:
        if content.get("scales") is not None:
            raise CheckpointError(f"{path.name}: scales", seen="nothing quantized that they belong to")
        return tensors
    rows = rows_times_scales(named("quantized"), named("scales"), path)
    if twice := rows.keys() & tensors.keys():
        raise CheckpointError(f"{path.name}: tensor both quantized and not", seen=min(twice))
    return tensors | rows


def _checked_data(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Refuse paths that leave the checkpoint's folder, links included."""
    folder = path.parent.resolve()
    paths = data.get("paths", [])
    if not (isinstance(paths, list) and all(isinstance(item, str) for item in paths)):
        raise CheckpointError(f"{path.name}: paths of its data", seen=paths, expected="a list of relative paths")
    for item in paths:
        if "\x00" in item or Path(item).is_absolute() or not (folder / item).resolve().is_relative_to(folder):
            raise UnsafeCheckpointError(
                f"{path.name} names data outside its folder", seen=repr(item), hint="pass the data with --data"
            )
    return data


def save_checkpoint(
    path: Path,
    *,
    tensors: Mapping[str, Tensor],
    adapter: str,
    config: Mapping[str, Any],
    schedule: str | None = None,
    tokenizer: bytes | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write the native format; the same content gives the same bytes.

    Args:
        path: ends in ``.pt`` or ``.safetensors``; replaced only when the new file is complete.
        tensors: the state dict.
        adapter: name of the adapter that loads it.
        config: plain values.
        schedule: name of the noise schedule; None for autoregressive models.
        tokenizer: the tokenizer file's bytes.
        data: where validation data lie, relative to the checkpoint's folder: ``{"paths": [...], ...}``.

    Raises:
        CheckpointError: for another suffix, or values that are not plain.
    """
    path = Path(path)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "adapter": adapter,
        "config": plain_values(config),
        "schedule": schedule,
        "data": None if data is None else _checked_data(plain_values(data), path),
    }
    # Copies, so that views neither drag their base along nor share memory, which safetensors refuses.
    owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    token_bytes = None if tokenizer is None else torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    if path.suffix == ".pt":
        content = {**header, "tokenizer": token_bytes, "tensors": owned}
        write_whole(path, lambda file: torch.save(content, file))
    elif path.suffix == ".safetensors":
        from safetensors.torch import save

        if token_bytes is not None:
            owned[TOKENIZER_TENSOR] = token_bytes
        packed = save(owned, metadata={FORMAT: json.dumps(header, sort_keys=True)})
        write_whole(path, lambda file: file.write(packed))
    else:
        raise CheckpointError("suffix of a checkpoint", seen=repr(path.suffix), expected=".pt or .safetensors")
