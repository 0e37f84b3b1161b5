"""What a path leads to, where only a regular file will do: opening anything else may wait, or never end."""

from __future__ import annotations

import stat

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
