"""A file that is read back before it takes the old one's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.errors import CheckpointError
from bpb_harness.whole_file import write_whole


def test_a_file_is_checked_whole_and_before_it_is_put_in_place(tmp_path: Path) -> None:
    path, seen = tmp_path / "a", []
    path.write_bytes(b"old")

    def note(made: Path) -> None:
        seen.append((made.read_bytes(), path.read_bytes()))

    write_whole(path, lambda file: file.write(b"new"), check=note)
    assert seen == [(b"new", b"old")]
    assert path.read_bytes() == b"new"


def test_what_does_not_pass_leaves_the_old_file(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise CheckpointError("it cannot be read back")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(CheckpointError):
        write_whole(path, lambda file: file.write(b"new"), check=refuse)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"old")]
