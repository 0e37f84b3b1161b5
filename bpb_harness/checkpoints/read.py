"""The way in: :func:`read_checkpoint`."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.checkpoints.digest import digest_of, is_folder, require_file
from bpb_harness.checkpoints.layouts import read_torch_file, require_no_choice
from bpb_harness.checkpoints.record import Checkpoint
from bpb_harness.checkpoints.safetensors_file import read_exported, read_safetensors
from bpb_harness.errors import CheckpointError


def read_checkpoint(path: Path, weights: str | None = None) -> Checkpoint:
    """Read a checkpoint of any supported layout without running anything that it names.

    Args:
        path: file or folder.
        weights: the key of the set of weights to take, where a file holds several; with dots where it lies deeper.

    Raises:
        CheckpointError: no such file, an unknown layout, a damaged file, several sets of weights and no choice.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    path = Path(path)
    if is_folder(path):
        from bpb_harness.checkpoints.model_folder import read_folder

        require_no_choice(path, weights)
        return read_folder(path)
    require_file(path)
    try:
        digest = digest_of(path)
        if path.suffix in (".pt2", ".safetensors"):
            require_no_choice(path, weights)
            return (read_exported if path.suffix == ".pt2" else read_safetensors)(path, digest)
        with path.open("rb") as file:
            return read_torch_file(path, file, digest, weights)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None
