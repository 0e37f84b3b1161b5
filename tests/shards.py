"""Token shards for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_shard(path: Path, tokens, *, magic: int = 20240520, version: int = 1, count: int | None = None) -> Path:
    """Write a shard: 256 little-endian int32 of header, then little-endian uint16 tokens."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(tokens, dtype="<u2").tobytes())
    return path
