"""Files of a folder that nobody trusts: regular files alone, opened without waiting, and nothing outside the folder.

A submission may hold a named pipe, a device, a socket, or a link to anything on the machine that audits it. What is
opened here is opened without blocking, is asked afterwards what it is (so that nothing can be put in its place in
between), and is reached from the top of the file system without following any link.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from bpb_harness.errors import ClaimError
from bpb_harness.foreign_files import kind_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_HINT = "name a folder, a JSON file, a log or a script"


def kind_in_folder(mode: int) -> str | None:
    """What is no regular file, in words; a pipe in a folder is a named one."""
    return "a named pipe" if stat.S_ISFIFO(mode) else kind_of(mode)


def open_regular(path: Path, name: str | None = None) -> BinaryIO:
    """Open a regular file for reading, at once or not at all.

    Args:
        path: the file; a relative path starts in the current folder. No part of it may be a link: see `resolved`.
        name: its name for messages.

    Raises:
        ClaimError: if there is no such file, it cannot be read, it is no regular file, or a link leads to it.
    """
    shown = name or str(path)
    try:
        folder = os.open("/", _FOLDER)
        try:
            *above, last = path.absolute().parts[1:] or ("/",)
            for part in above:
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            # Asked before as well: to open a device may do something, and to open a socket only says "no such device".
            _require_regular(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode, shown)
            descriptor = os.open(last, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    except (OSError, ValueError) as problem:
        seen = (problem.strerror if isinstance(problem, OSError) else None) or type(problem).__name__
        raise ClaimError(f"{shown[:200]} cannot be read", seen=seen) from problem
    try:
        _require_regular(os.fstat(descriptor).st_mode, shown)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: Path, name: str) -> None:
    """Refuse what is no regular file by what the folder says of it, before anything is opened.

    Raises:
        ClaimError: if it is none, or cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as problem:
        raise ClaimError(f"{name[:200]} cannot be read", seen=problem.strerror) from problem
    _require_regular(mode, name)


def _require_regular(mode: int, shown: str) -> None:
    kind = kind_in_folder(mode)
    if kind is not None:
        raise ClaimError(f"{shown} is no file that can be read", seen=kind, expected="a regular file", hint=_HINT)


def resolved(path: Path) -> Path:
    """A path that somebody named, with the links in it followed; one that is a link itself must stay in its folder.

    Raises:
        ClaimError: for a link to something outside the folder that holds the link, and for a broken one.
    """
    try:
        parent = path.absolute().parent.resolve()
        whole = parent / path.absolute().name
        if not whole.is_symlink():
            return whole.resolve()
        target = whole.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as problem:
        seen = (problem.strerror if isinstance(problem, OSError) else None) or type(problem).__name__
        raise ClaimError(f"{str(path)[:200]} cannot be read", seen=seen) from problem
    if not target.is_relative_to(parent):
        raise ClaimError(
            f"{path} is a link out of its folder",
            seen=f"a link to {target}",
            expected="a file or folder, or a link to one beside it",
            hint="name what it leads to, if that is to be read",
        )
    return target
