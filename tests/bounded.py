"""Hostile input must be done with: in a bounded number of steps, or, where C code works, in a minute of the processor.

Neither measures speed: a call is counted whatever it takes, and a minute of the processor, however long a busy machine
takes for it, is many times what the work needs, while a pattern that goes back over its text again and again takes
hours.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.forked_servers import run_program


def count_calls(work: Callable[[], object], most: int) -> int:
    """How many calls of functions, Python's and C's, a piece of work makes; fails beyond ``most``."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}
        if count > most:
            sys.setprofile(None)
            pytest.fail(f"more than {most:,} calls")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def require_an_end(program: str, *, seconds: int = 60) -> str:
    """Run a program of Python that must come to an end within so much time of the processor; what it printed."""
    done = run_program(program, seconds=seconds)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        pytest.fail(f"not done after {seconds} seconds of the processor")
    assert done.returncode == 0, done.stderr
    return done.stdout
