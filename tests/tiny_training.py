"""A run of the trainer that takes moments: a few tiny steps on the validation shard."""

from __future__ import annotations

from pathlib import Path

from fixtures import build
from reference.settings import Training

SHAPE = {"layers": 1, "width": 16, "heads": 2, "context": 32, "batch_tokens": 128, "device": "cpu"}


def tiny_training(out: Path, **changes: object) -> Training:
    options = {"data": (build.VALIDATION,), "tokenizer": build.TOKENIZER, "out": out, "steps": 12, **SHAPE, **changes}
    return Training(**options)  # type: ignore[arg-type]
