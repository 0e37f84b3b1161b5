"""Pages of memory-mapped files: a text that was read from one end to the other need not stay in a process's memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)  # not where the system has no such call


def let_go(array: NDArray[Any]) -> None:
    """Let go of the pages that lie whole in a part of a memory-mapped file; nothing for other arrays.

    They stay in the system's cache, and are there again when somebody reads them.
    """
    mapped = getattr(array, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or _DONT_NEED is None:
        return
    begin = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, (begin + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        mapped.madvise(_DONT_NEED, first, last - first)
