"""Hostile input must be done with: in a bounded number of steps, or, where C code works, before a minute is over.

Neither measures speed: a call is counted whatever it takes, and a minute is many times what the work takes on a busy
machine, while a pattern that goes back over its text again and again takes hours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parent.parent


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


def require_an_end(program: str, *, seconds: float = 60.0) -> str:
    """Run a program of Python that must come to an end; returns what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"not done after {seconds:.0f} seconds")
    assert done.returncode == 0, done.stderr
    return done.stdout
