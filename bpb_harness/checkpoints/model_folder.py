"""Model folders, as ``save_pretrained`` of ``transformers`` writes them, read as data."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.byte_count import tokenizer_bytes_in
from bpb_harness.checkpoints import Checkpoint, digest_of, read_json
from bpb_harness.checkpoints.names import without_wrappers
from bpb_harness.checkpoints.quantized_folder import plain_weights
from bpb_harness.checkpoints.weights_files import read_weights
from bpb_harness.errors import CheckpointError, TokenizerError, UnsafeCheckpointError


def read_folder(path: Path) -> Checkpoint:
    """Read a model folder as data.

    Raises:
        CheckpointError: no config.json, no weights or more than one set of them, an adapter (LoRA) that is not merged,
            weights quantised in a way that is not undone here, or damaged files.
        UnsafeCheckpointError: links out of the folder, and whatever makes a file unsafe.
    """
    files = sorted(file for file in path.iterdir() if file.is_file())
    for file in files:
        if not file.resolve().is_relative_to(path.resolve()):
            raise UnsafeCheckpointError(f"{file.name} in {path} is a link out of the folder")
        if file.name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
            raise CheckpointError(
                f"{path.name} holds an adapter (LoRA or its kin) that is not merged into its base",
                seen=file.name,
                expected="the weights of one network",
                hint="merge it with merge_and_unload() of peft, save_pretrained() into a new folder, and score that",
            )
    config_path = path / "config.json"
    if not config_path.is_file():
        raise CheckpointError(f"no config.json in the folder {path}", hint="pass a checkpoint's file or model folder")
    config = read_json(config_path)
    stored, notes = read_weights(path, files)
    tensors, quantization_notes = plain_weights(without_wrappers(stored, path), config, path.name)
    return Checkpoint(
        path,
        "folder",
        digest_of(path),
        tensors,
        config=config,
        tokenizer=tokenizer_of(path),
        notes=(*notes, *quantization_notes),
    )


def tokenizer_of(folder: Path) -> bytes | None:
    """The folder's own tokenizer: of the files that may be one, the first whose bytes can be counted.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        return tokenizer_bytes_in(folder)
    except TokenizerError as error:
        raise CheckpointError(f"{folder.name}: its tokenizer cannot be read", seen=error) from None
