"""A checkpoint that a trainer writes while it is read: its digest would be of one state, its weights of another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bpb_harness.adapters import load_model, registry
from bpb_harness.errors import CheckpointError, HarnessError


def overwrite(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def replace(path: Path, other: Path) -> None:
    shutil.copy(other, path.with_suffix(".new"))
    shutil.copystat(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def age(path: Path, other: Path) -> None:
    del other
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [overwrite, replace, age])
@pytest.mark.parametrize("when", ["read_checkpoint", "choose_reading"])
def test_what_changes_a_checkpoint_refuses_it(change, when, tmp_path, one_block, monkeypatch):
    path, other = tmp_path / "last.pt", tmp_path / "next.pt"
    for each in (path, other):
        shutil.copy(one_block, each)
    load_model(path)
    plain = getattr(registry, when)

    def meanwhile(*given):
        found = plain(*given)
        change(path, other)
        return found

    monkeypatch.setattr(registry, when, meanwhile)
    with pytest.raises(CheckpointError, match=r"last\.pt was written to while it was read; score it again, or a copy"):
        load_model(path)


def test_what_cannot_be_read_is_said_as_before(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path / "none.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="empty"):
        load_model(tmp_path / "empty")
