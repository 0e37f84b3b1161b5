"""Model folders, as ``save_pretrained`` of ``transformers`` writes them: which files hold the weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from bpb_harness.checkpoint import (
    LARGEST_TOKENIZER,
    Checkpoint,
    digest_of,
    load_safetensors,
    read_checkpoint,
    read_json,
)
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError


def read_folder(path: Path) -> Checkpoint:
    """Read a model folder as data.

    Raises:
        CheckpointError: no config.json, or damaged files.
        UnsafeCheckpointError: links out of the folder, and whatever makes a file unsafe.
    """
    config_path = path / "config.json"
    if not config_path.is_file():
        raise CheckpointError(f"no config.json in the folder {path}", hint="pass a checkpoint's file or model folder")
    files = sorted(file for file in path.iterdir() if file.is_file())
    for file in files:
        if not file.resolve().is_relative_to(path.resolve()):
            raise UnsafeCheckpointError(f"{file.name} in {path} is a link out of the folder")
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            tensors |= load_safetensors(file)[0]
    if not tensors:
        for file in files:
            if file.name.startswith("pytorch_model") and file.suffix == ".bin":
                tensors |= read_checkpoint(file).tensors
    tokenizer = tokenizer_of(path)
    return Checkpoint(path, "folder", digest_of(path), tensors, config=read_json(config_path), tokenizer=tokenizer)


def tokenizer_of(folder: Path) -> bytes | None:
    """The folder's own tokenizer: tokenizer.json, else a SentencePiece model."""
    for name in ("tokenizer.json", "tokenizer.model", "spiece.model"):
        file = folder / name
        if file.is_file():
            size = file.stat().st_size
            if size > LARGEST_TOKENIZER:
                raise UnsafeCheckpointError(
                    f"{name} in {folder.name}", seen=f"{size} bytes", expected=f"at most {LARGEST_TOKENIZER}"
                )
            return file.read_bytes()
    return None
