"""What a checkpoint is once it has been read, :class:`Checkpoint`, and its own name: sha256 of what it consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import Tensor

from bpb_harness.errors import CheckpointError
from bpb_harness.foreign_files import kind_of, stamp_of

FORMAT = "bpb-harness"
FORMAT_VERSION = 1
# A Lightning checkpoint's moving averages join its tensors under this prefix, numbered in order of parameters.
EMA_PREFIX = "ema.shadow_params."
LARGEST_TOKENIZER = 64 << 20
_MODEL_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt", ".py")


@final
@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says, as tensors on the CPU and plain values.

    Attributes:
        path: the file or folder.
        layout: how it is laid out: "native", "native-int8" (a compressed artifact), "tensors" (a bare state dict),
            "lightning", "golf-int8", "golf-int6", "exported", "folder".
        digest: sha256 of the file, or of the folder's files in order of name, as hex.
        tensors: the state dict.
        adapter: the adapter that a native file names.
        config: plain values: numbers, text, lists and dictionaries of them.
        schedule: the noise schedule's name, such as "loglinear[0.001]".
        tokenizer: the tokenizer file's bytes, if the checkpoint carries them.
        data: where its validation data lie, relative to the checkpoint's folder, and what is known about them.
        notes: findings of the reading that are worth printing beside the score.
        weights: the key under which the tensors stand in the file, with dots; empty where they are the whole of it.
        weights_chosen: whether that key was the user's choice.
        stated: settings that the file does not hold and the user states, as text by name.
    """

    path: Path
    layout: str
    digest: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    adapter: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    tokenizer: bytes | None = field(default=None, repr=False)
    data: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    weights: str = ""
    weights_chosen: bool = False
    stated: Mapping[str, str] = field(default_factory=dict)


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
    parts: list[bytes] = []
    try:
        is_single_file = not path.is_dir()
        for file in files_of(path):
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").digest()
            parts.append(digest if is_single_file else file.name.encode(errors="surrogateescape") + b"\0" + digest)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None
    return parts[0].hex() if is_single_file and len(parts) == 1 else hashlib.sha256(b"".join(parts)).hexdigest()


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


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Refuse a checkpoint that somebody writes to, or replaces, while the block reads it.

    Its digest would be that of one state of it, and the weights those of another.

    Raises:
        CheckpointError: behind the block.
    """
    before = _stamps(path)
    yield
    if _stamps(path) != before:
        raise CheckpointError(
            f"{path} was written to while it was read", hint="score it again, or a copy that nothing writes to"
        )


def _stamps(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Of each file; nothing of what is not there."""
    try:
        return [(file.name, stamp_of(file)) for file in files_of(path)]
    except (OSError, ValueError):  # whoever reads it says so
        return []
