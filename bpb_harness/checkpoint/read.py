"""The way in: :func:`read_checkpoint`."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.checkpoint.digest import digest_of
from bpb_harness.checkpoint.layouts import read_torch_file
from bpb_harness.checkpoint.record import Checkpoint
from bpb_harness.checkpoint.safetensors_file import read_exported, read_safetensors
from bpb_harness.errors import CheckpointError


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any supported layout without running anything that it names.

    Raises:
        CheckpointError: no such file, an unknown layout, a damaged file.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    path = Path(path)
    if path.is_dir():
        from bpb_harness.model_folder import read_folder

        return read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}", hint="pass the path of a file or folder that exists")
    try:
        digest = digest_of(path)
        if path.suffix == ".pt2":
            return read_exported(path, digest)
        if path.suffix == ".safetensors":
            return read_safetensors(path, digest)
        with path.open("rb") as file:
            return read_torch_file(path, file, digest)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None
