"""The JSON beside an exported program: every key of it is known, and of the right kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from bpb_harness.adapters.exported.archive import parse_object
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.checkpoints.plain import read_json
from bpb_harness.errors import CheckpointError, UsageError

FORMAT = "bpb-harness-exported"
FORMAT_VERSION = 1
_KEYS = frozenset(
    [
        "format",
        "format_version",
        "kind",
        "vocab_size",
        "mask_token_id",
        "context_length",
        "time_conditioned",
        "schedule",
        "sha256",
        "torch_version",
    ]
)
_OF_DENOISERS = ("mask_token_id", "time_conditioned", "schedule")


@final
@dataclass(frozen=True)
class Description:
    """What a program is.

    Attributes:
        is_denoiser: takes a noise level and predicts masked tokens; a causal model otherwise.
        vocab_size: clean tokens.
        context_length: longest window.
        mask_token_id: -1 for a causal model.
        time_conditioned: whether the noise level matters.
        torch_version: of the torch that wrote it, in words.
    """

    is_denoiser: bool
    vocab_size: int
    context_length: int
    mask_token_id: int
    time_conditioned: bool
    torch_version: str


def read_description(checkpoint: Checkpoint) -> Description:
    """The description of a checkpoint of layout "exported".

    Raises:
        CheckpointError: naming the key that is unknown, missing, of another kind, or contradicts another.
    """
    path, config = checkpoint.path, dict(checkpoint.config)
    name = path.with_suffix(".json").name
    parse_object(path.with_suffix(".json").read_bytes(), name)  # a key that stands twice is none of a dictionary
    unknown = sorted(config.keys() - _KEYS)
    if unknown:
        raise CheckpointError(
            f"{name} has a key that is not known", seen=unknown[0], expected=", ".join(sorted(_KEYS)), hint=_HINT
        )
    _require(name, "format", config.get("format"), FORMAT)
    _require(name, "format_version", config.get("format_version"), FORMAT_VERSION)
    kind = config.get("kind")
    if kind not in ("denoiser", "causal"):
        raise CheckpointError(f"{name}: kind", seen=repr(kind), expected="denoiser or causal", hint=_HINT)
    is_denoiser = kind == "denoiser"
    numbers = {"vocab_size": 1, "context_length": 1} | ({"mask_token_id": 0} if is_denoiser else {})
    for key, least in numbers.items():
        value = config.get(key)
        if type(value) is not int or not least <= value < 1 << 31:
            raise CheckpointError(f"{name}: {key}", seen=repr(value), expected=f"an int from {least} on", hint=_HINT)
    if is_denoiser and type(config.get("time_conditioned")) is not bool:
        seen = repr(config.get("time_conditioned"))
        raise CheckpointError(f"{name}: time_conditioned", seen=seen, expected="true or false", hint=_HINT)
    for key in () if is_denoiser else _OF_DENOISERS:
        if config.get(key) is not None:
            raise CheckpointError(f"{name}: {key} of a causal model", seen=repr(config[key]), expected="null")
    _check_digest(checkpoint, name, config.get("sha256"))
    version = config.get("torch_version", "of unknown version")
    _require(name, "torch_version", type(version), str)
    return Description(
        is_denoiser=is_denoiser,
        vocab_size=config["vocab_size"],
        context_length=config["context_length"],
        mask_token_id=config["mask_token_id"] if is_denoiser else -1,
        time_conditioned=is_denoiser and config["time_conditioned"],
        torch_version=version,
    )


_HINT = "export it again with bpb_harness.adapters.exported.export_model"


def _require(name: str, key: str, seen: Any, expected: Any) -> None:
    if type(seen) is not type(expected) or seen != expected:
        words = [value.__name__ if isinstance(value, type) else repr(value) for value in (seen, expected)]
        raise CheckpointError(f"{name}: {key}", seen=words[0], expected=words[1], hint=_HINT)


def _check_digest(checkpoint: Checkpoint, name: str, stated: object) -> None:
    """A digest of the program, where the description has one, must be that of the program beside it."""
    if stated is None:
        return
    if not isinstance(stated, str) or not re.fullmatch("[0-9a-f]{64}", stated):
        raise CheckpointError(f"{name}: sha256", seen=repr(stated)[:80], expected="64 hexadecimal digits or null")
    with checkpoint.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != stated:
        raise CheckpointError(
            f"{name} describes another file", seen=f"sha256 {digest[:8]}", expected=stated[:8], hint="export again"
        )


def require_no_other_json(path: Path) -> None:
    """Refuse to write over a JSON file that is no description: a score, say, of the same name.

    Raises:
        UsageError: with what the file is.
    """
    if not path.is_file():
        return
    try:
        found = read_json(path).get("format")
    except CheckpointError:
        found = None
    if found != FORMAT:
        raise UsageError(
            f"{path} would be written over by the description of the export",
            seen="a file of another kind" if found is None else f'one of format "{found}"',
            expected="none, or the description of an earlier export",
            hint="move it away, or export under another name",
        )


def describe(values: Mapping[str, Any]) -> dict[str, Any]:
    """A description as it is written, its keys in order."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION} | dict(values)
