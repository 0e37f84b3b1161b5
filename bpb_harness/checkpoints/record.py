"""What a checkpoint is once it has been read: :class:`Checkpoint`, and the names that its parts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import Tensor

FORMAT = "bpb-harness"
FORMAT_VERSION = 1
# A Lightning checkpoint's moving averages join its tensors under this prefix, numbered in order of parameters.
EMA_PREFIX = "ema.shadow_params."
LARGEST_TOKENIZER = 64 << 20


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
