"""Memory that was freed goes back to the system, where the C library would keep it for what is asked for next."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Let go of the pages that malloc keeps: of weights on their way to a GPU, of counts of a text. glibc alone."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
