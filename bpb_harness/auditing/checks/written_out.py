"""A line of a log that a script prints as it stands there: its number is a constant, which nothing computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import Source
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import HarnessError

_PRINTING = frozenset(["print", "log", "log0", "print0", "info", "write", "writelines"])
_LARGEST = 1 << 20  # characters of a script that are looked through
_NUMBER = re.compile(r"\d+\.\d+")


def written_out(evidence: Evidence, place: Source) -> str | None:
    """Where a script prints a log's line as a text without any value in it; None where none does, or another may.

    Args:
        evidence: the claim, with its scripts and logs.
        place: the line.
    """
    line = _line_at(evidence, place)
    number = _NUMBER.search(line)
    if number is None or not evidence.claim.scripts:
        return None
    texts = {script: _text_of(script) for script in evidence.claim.scripts}
    if sum(text.count(line[: number.start()]) for text in texts.values()) != 1:
        return None  # what begins as the line does may be computed elsewhere
    found = (f"{script.name}:{at}" for script, text in texts.items() if line in text for at in _printed(text, line))
    return next(found, None)


def _line_at(evidence: Evidence, place: Source) -> str:
    path = next((log.path for log in evidence.claim.logs if log.file == place.file), None)
    if path is None or place.line is None:
        return ""
    try:
        lines = read_text(path, place.file).text.split("\n")
    except HarnessError:
        return ""
    return lines[place.line - 1].strip() if place.line <= len(lines) else ""


def _text_of(script: Path) -> str:
    from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

    try:
        text = decode_source(script).text if script.suffix == ".py" else ""
    except (HarnessError, OSError):
        return ""
    return text if len(text) <= _LARGEST else ""


def _printed(text: str, line: str) -> Iterator[int]:
    """Where a script prints a line as a text that no value goes into."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name_of(call.func) in _PRINTING and len(call.args) == 1:
            (given,) = call.args
            held = given.value if isinstance(given, ast.Constant) else None
            if isinstance(held, str) and line in _lines_of(held):
                yield given.lineno


def _name_of(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def _lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n")]
