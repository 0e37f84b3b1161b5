"""A checkpoint of the fixtures with the first of its blocks alone: a quarter of the time, and scores that are worse.

For tests of what is done with a network, whatever it has learnt.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

_CHECKPOINTS = Path(__file__).resolve().parents[1] / "fixtures" / "checkpoints"
_FOLDER = TemporaryDirectory(prefix="one-block-")


@cache
def one_block_of(name: str) -> Path:
    """A checkpoint of the fixtures cut down, by its name, written once a process."""
    folder = Path(_FOLDER.name, name)
    folder.mkdir()
    return write_one_block(_CHECKPOINTS / name, folder)


def write_one_block(source: Path, folder: Path) -> Path:
    """Write it under its own name, with the files that lie beside it.

    Args:
        source: one of fixtures/checkpoints.
        folder: an empty one.
    """
    held = torch.load(source, weights_only=True)
    held["config"]["num_layers"] = 1
    held["tensors"] = {
        name: tensor
        for name, tensor in held["tensors"].items()
        if name.startswith("blocks.0.") or "blocks." not in name
    }
    torch.save(held, folder / source.name)
    for beside in source.parent.iterdir():
        if beside.suffix != source.suffix:
            shutil.copy(beside, folder)
    return folder / source.name
