"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bpb_harness.errors import OutputError


def write_whole(
    path: Path, write: Callable[[BinaryIO], object], *, check: Callable[[Path], object] | None = None
) -> None:
    """Write a file that appears only when it is complete: a temporary one beside it, then a rename.

    What is no regular file (``/dev/stdout``, a pipe) is written to as it is, for a rename would put a file in its
    place.

    Args:
        path: replaced if it exists; the file behind a link is.
        write: gets the open file.
        check: gets the path of the complete file before it is put in place, by a rename whatever is there; what it
            raises leaves the old one.

    Raises:
        OutputError: if it cannot be written, on a full disk for example; nothing is left behind then.
    """
    path = Path(path)
    with written(path):
        if check is None and path.exists() and not path.is_file():
            with path.open("wb") as file:
                write(file)
            return
        with _temporary_beside(path.resolve()) as temporary:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if check is not None:
                check(temporary)
            temporary.replace(path.resolve())


def require_writable(path: Path) -> None:
    """Try whether a file could be written whole, before the work is done whose result it is to hold.

    Permissions do not tell (root may write anywhere, and nothing into ``/proc``): a temporary file is made and removed.

    Raises:
        OutputError: if it cannot.
    """
    with written(path):
        if path.exists() and not path.is_file():
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return  # opening a pipe waits for its reader
        with _temporary_beside(path.resolve()):
            pass


@contextmanager
def written(path: Path | str) -> Iterator[None]:
    """Name a file in the error of whatever fails to write it.

    Raises:
        OutputError: for what the system says, and for what torch makes of it.
    """
    try:
        yield
    except OSError as error:
        raise _output_error(path, error.strerror or str(error)) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        raise _output_error(path, error) from error


def _output_error(path: Path | str, seen: object) -> OutputError:
    return OutputError(f"{path} cannot be written", seen=seen, hint="make room, or name another file")


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp gives 0600; what is written gets what any new file gets.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
