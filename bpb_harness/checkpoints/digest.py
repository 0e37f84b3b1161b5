"""A checkpoint's name: sha256 of what it consists of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bpb_harness.errors import CheckpointError
from bpb_harness.regular_file import kind_of

_MODEL_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt", ".py")


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False where the system refuses to say."""
    try:
        return path.is_dir()
    except OSError:
        return False


def require_file(path: Path) -> None:
    """Refuse what is not there, and pipes, devices and sockets: opening one may wait, or never end.

    Raises:
        CheckpointError: if the path is no regular file, and no link to one.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise CheckpointError(
            f"no checkpoint at {path}",
            seen=None if missing else getattr(error, "strerror", None) or error,
            hint="pass the path of a file or folder that exists",
        ) from None
    kind = kind_of(mode)
    if kind is not None:
        raise CheckpointError(f"{path}", seen=kind, expected="a regular file or a folder")


def digest_of(path: Path) -> str:
    """sha256 of a file, of an exported program and its description, or of a folder's model files with their names; hex.

    Raises:
        CheckpointError: if there is no such file or folder, or it cannot be read.
    """
    if not is_folder(path):
        require_file(path)
    try:
        files = files_of(path)
        if not path.is_dir():
            digests = [_file_digest(file) for file in files]
            return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()
        whole = hashlib.sha256()
        for file in files:
            whole.update(file.name.encode(errors="surrogateescape") + b"\0" + _file_digest(file))
        return whole.hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None


def files_of(path: Path) -> list[Path]:
    """The files that a digest is of, in its order.

    Raises:
        OSError: if a folder cannot be read.
    """
    if path.is_dir():
        return [file for file in sorted(path.iterdir()) if file.is_file() and file.suffix in _MODEL_SUFFIXES]
    beside = path.with_suffix(".json")
    is_program = path.suffix == ".pt2" and path.is_file() and beside.is_file()
    return [path, beside] if is_program else [path]


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
