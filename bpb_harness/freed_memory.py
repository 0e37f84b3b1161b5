"""Memory that goes back to the system: what the C library keeps of what was freed, and pages of files once read."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)  # not where the system has no such call


_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_one_arena() -> None:
    """Let all threads to come take memory from one place, unless the user has said from how many. glibc alone.

    glibc gives threads arenas of their own, and :func:`give_back` does not reach the ends of those: up to 64 MB in each
    stay with a thread's arena, though all of it was freed.
    """
    if not any(name in os.environ for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")):
        _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Let go of the pages that malloc keeps: of weights on their way to a GPU, of counts of a text. glibc alone."""
    _call("malloc_trim", 0)


def _call(name: str, *given: int) -> None:
    """Call a function of the C library, where that has it."""
    if sys.platform.startswith("linux"):
        function = getattr(ctypes.CDLL(None), name, None)
        if function is not None:
            function(*given)


def let_go(array: NDArray[Any]) -> None:
    """Let go of the pages that lie whole in a part of a memory-mapped file; nothing for other arrays.

    A text that was read from one end to the other need not stay in a process's memory: its pages stay in the system's
    cache, and are there again when somebody reads them. Arrays that can be written to are left alone: what was written
    may be in no file.
    """
    mapped = getattr(array, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or array.flags.writeable or _DONT_NEED is None:
        return
    import numpy as np  # deferred: a command starts others, or says what is wrong with its words, without it

    begin = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, (begin + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        mapped.madvise(_DONT_NEED, first, last - first)
