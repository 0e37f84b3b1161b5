"""Memory that goes back to the system: what the C library keeps of what was freed, and pages of files once read."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)  # not where the system has no such call


def give_back() -> None:
    """Let go of the pages that malloc keeps: of weights on their way to a GPU, of counts of a text. glibc alone."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def let_go(array: NDArray[Any]) -> None:
    """Let go of the pages that lie whole in a part of a memory-mapped file; nothing for other arrays.

    A text that was read from one end to the other need not stay in a process's memory: its pages stay in the system's
    cache, and are there again when somebody reads them.
    """
    mapped = getattr(array, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or _DONT_NEED is None:
        return
    begin = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, (begin + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        mapped.madvise(_DONT_NEED, first, last - first)
