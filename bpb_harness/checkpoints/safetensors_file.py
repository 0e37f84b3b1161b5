"""Safetensors files, and what stands beside exported programs."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from bpb_harness.checkpoints.names import without_wrappers
from bpb_harness.checkpoints.native import TOKENIZER_TENSOR, from_native
from bpb_harness.checkpoints.plain import parse_json, read_json
from bpb_harness.checkpoints.record import FORMAT, Checkpoint
from bpb_harness.errors import CheckpointError


def read_safetensors(path: Path, digest: str) -> Checkpoint:
    """Read a safetensors file: the native format where its metadata say so, else a state dict.

    Raises:
        CheckpointError: if it is damaged or holds no tensors.
    """
    tensors, metadata = load_safetensors(path)
    if FORMAT not in metadata:
        if not tensors:
            raise CheckpointError(f"{path.name} holds no tensors")
        settings = {key: value for key, value in metadata.items() if key != "format"}
        return Checkpoint(path, "tensors", digest, without_wrappers(tensors, path), config=settings)
    content = parse_json(metadata[FORMAT], what=f"metadata of {path.name}")
    if not isinstance(content, dict):
        raise CheckpointError(f"metadata of {path.name}", seen=type(content).__name__, expected="an object")
    content["tokenizer"] = tensors.pop(TOKENIZER_TENSOR, None)
    return from_native(path, {**content, "tensors": tensors}, digest)


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path.name} is no sound safetensors file", seen=error, hint="copy it again") from None


def names_in_safetensors(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file, from its header alone.

    Raises:
        CheckpointError: if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return list(file.keys())
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path.name} is no sound safetensors file", seen=error, hint="copy it again") from None


def read_exported(path: Path, digest: str) -> Checkpoint:
    """Read what stands beside an exported program; the program itself is opened by its adapter.

    Raises:
        CheckpointError: if there is no JSON file of that name beside it, or its schedule is no name.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise CheckpointError(
            f"no {beside.name} beside {path.name}", hint="export with bpb_harness.adapters.exported.export_model"
        )
    config = read_json(beside)
    schedule = config.get("schedule")
    if not isinstance(schedule, str | None):
        raise CheckpointError(f"{beside.name}: schedule", seen=repr(schedule), expected="a name or null")
    return Checkpoint(path, "exported", digest, {}, adapter="exported", config=config, schedule=schedule)
