"""What a path leads to, where only a regular file will do."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from bpb_harness.foreign_files import kind_of


def test_what_is_no_regular_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    Path("file").touch()
    Path("folder").mkdir()
    Path("link").symlink_to("file")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        kinds = {path.name: kind_of(path.lstat().st_mode) for path in Path().iterdir()}
    named = {"folder": "a folder", "link": "a link", "pipe": "a pipe", "socket": "a socket"}
    assert kinds == {"file": None, **named}
    assert kind_of(Path("link").stat().st_mode) is None


@pytest.mark.parametrize(
    ("mode", "words"), [(stat.S_IFCHR, "a device"), (stat.S_IFBLK, "a device"), (0, "no regular file")]
)
def test_nothing_else_passes_for_one(mode: int, words: str) -> None:
    assert kind_of(mode | 0o644) == words
