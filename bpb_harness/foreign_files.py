"""What every reader of somebody else's files looks at first.

A path leads to a regular file: opening anything else may wait, or never end. In JSON no key has two values: Python's
reader would take the last of them, other readers the first.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(mode: int) -> str | None:
    """What is no regular file, in words; None for a regular file.

    Args:
        mode: `st_mode`; of `stat` if a link to a regular file will do, of `lstat` if not.
    """
    if stat.S_ISREG(mode):
        return None
    return next((words for test, words in _KINDS if test(mode)), "no regular file")


def stamp_of(path: Path) -> tuple[int, int, int]:
    """What changes of a file when it is written to, or another takes its place.

    Raises:
        OSError: if it cannot be looked at.
    """
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class KeyGivenTwiceError(ValueError):
    """A key that stands twice in one object, with two values."""


def load_once(text: str | bytes) -> Any:
    """JSON as :func:`json.loads` gives it.

    Raises:
        KeyGivenTwiceError: a key stands twice in one object, with two values; it names the key.
        ValueError: no JSON.
        RecursionError: nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        for key, value in pairs:
            if repr(content[key]) != repr(value):  # 1 == True, but not as a setting
                shown = key if len(key) <= 40 else key[:40] + "..."
                raise KeyGivenTwiceError(f"the key {shown!r} is there twice, with two values")
    return content
