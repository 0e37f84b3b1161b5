"""Calls of the tokenizers library, whose failures become one line.

The library raises bare Exception, and its panics, which are no Exception, print a report of their own to the standard
error stream before they can be caught: that stream is closed to them while a call runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from bpb_harness.errors import TokenizerError

_Result = TypeVar("_Result")
_STDERR = 2
_LOCK = threading.RLock()


def guarded(what: str, call: Callable[[], _Result]) -> _Result:
    """Call into the library.

    Args:
        what: what failed, if it fails.
        call: what to do.

    Raises:
        TokenizerError: for whatever the library raises.
    """
    try:
        with _LOCK, _muted():
            return call()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic is no Exception
        raise TokenizerError(f"{what}: {error}") from error


@contextmanager
def _muted() -> Iterator[None]:
    """Nothing that is printed to file descriptor 2 is seen."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(nowhere)
        os.close(kept)
