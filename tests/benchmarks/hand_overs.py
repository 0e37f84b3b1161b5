"""Through how many files and functions of the package a small score passes; what the structure costs a reader.

    python -m tests.benchmarks.hand_overs [--list]

Every thread is watched; bodies of modules and classes and comprehensions are left out. ``--list`` goes through the
functions in the order in which they are called first: where, how long, how often, from how many others. What is short
and called from one place is worth a look; it is a hand-over only if it names nothing.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import bpb_harness

PACKAGE = Path(bpb_harness.__file__).parent
CHECKPOINT = Path(__file__).resolve().parents[2] / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


@dataclass
class Called:
    """How often a function is called, and by which others of the package."""

    calls: int = 0
    callers: set[CodeType] = field(default_factory=set)


def watch_a_score() -> dict[CodeType, Called]:
    """Functions of the package that a score of eight windows calls, in the order of their first calls."""
    seen: dict[CodeType, Called] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not _is_ours(frame.f_code):
            return
        called = seen.setdefault(frame.f_code, Called())
        called.calls += 1
        caller = frame.f_back
        while caller is not None and not _is_ours(caller.f_code):
            caller = caller.f_back
        called.callers |= set() if caller is None else {caller.f_code}

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        bpb_harness.evaluate(CHECKPOINT, limit=8, check_contract=False, device="cpu")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # None ends it
    return seen


def _is_ours(code: CodeType) -> bool:
    is_class_body = "__qualname__" in code.co_names and code.co_argcount == 0
    return code.co_filename.startswith(f"{PACKAGE}/") and not code.co_name.startswith("<") and not is_class_body


def main() -> None:
    functions = watch_a_score()
    by_file = Counter(str(Path(code.co_filename).relative_to(PACKAGE)) for code in functions)
    print(f"{len(by_file)} files, {len(functions)} functions")
    if "--list" in sys.argv:
        for code, called in functions.items():
            place = f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_firstlineno}"
            last = max(line for _, _, line in code.co_lines() if line is not None)
            print(
                f"{place:44} {code.co_qualname:48} {last - code.co_firstlineno + 1:3} lines, called {called.calls:4} "
                f"times from {len(called.callers)}"
            )


if __name__ == "__main__":
    main()
