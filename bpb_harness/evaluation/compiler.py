"""torch's compiler, which is imported by one thread at a time.

Its modules import one another in circles: a thread that asks for one of them while another thread is within the circle
is handed a module of which half is there, and fails.
"""

from __future__ import annotations

import importlib
import threading

_MODULES = ("torch._dynamo", "torch._inductor.compile_fx")
_one_at_a_time = threading.Lock()


def import_compiler() -> None:
    """Import the compiler, which takes a second or two, or wait for the thread that is doing so."""
    with _one_at_a_time:
        for name in _MODULES:
            importlib.import_module(name)
