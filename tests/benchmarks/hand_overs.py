"""Through how many files and functions of the package a small score passes; what the structure costs a reader.

    python -m tests.benchmarks.hand_overs [--list]

Every thread is watched; bodies of modules and classes and comprehensions are left out.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import bpb_harness

PACKAGE = Path(bpb_harness.__file__).parent
CHECKPOINT = Path(__file__).resolve().parents[2] / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


def watch_a_score() -> set[CodeType]:
    """Functions of the package that a score of eight windows calls."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        bpb_harness.evaluate(CHECKPOINT, limit=8, check_contract=False, device="cpu")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # None ends it
    inside = {code for code in seen if Path(code.co_filename).is_relative_to(PACKAGE)}
    return {code for code in inside if not code.co_name.startswith("<") and not _is_class_body(code)}


def _is_class_body(code: CodeType) -> bool:
    return "__qualname__" in code.co_names and code.co_argcount == 0


def main() -> None:
    functions = watch_a_score()
    by_file = Counter(str(Path(code.co_filename).relative_to(PACKAGE)) for code in functions)
    print(f"{len(by_file)} files, {len(functions)} functions")
    if "--list" in sys.argv:
        for file, count in by_file.most_common():
            names = sorted(code.co_qualname for code in functions if code.co_filename == str(PACKAGE / file))
            print(f"{count:4} {file}: {', '.join(names)}")


if __name__ == "__main__":
    main()
