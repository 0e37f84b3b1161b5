"""JSON as our own commands write it, and nothing else: no NaN, no key twice, no depth or size that they never reach."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from bpb_harness.errors import InputError
from bpb_harness.foreign_files import kind_of

LARGEST_FILE = 64 << 20
_DEEPEST = 32
_DIGITS = 40  # of an integer; more are no count


def read_text(path: Path, what: str = "JSON") -> str:
    """A file's text.

    Args:
        path: the file.
        what: what it should hold, for messages.

    Raises:
        InputError: if it is no regular file, too large, or no UTF-8.
    """
    try:
        kind = kind_of(path.stat().st_mode)
        if kind is not None:
            raise InputError(f"{path} is no file that can be read", seen=kind, expected="a regular file")
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(
                f"{path} is too large", seen=f"{path.stat().st_size:,} bytes", expected=f"at most {LARGEST_FILE:,}"
            )
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text", seen="bytes that are no UTF-8", expected=f"{what} in UTF-8") from None
    except (OSError, ValueError) as problem:
        seen = (problem.strerror if isinstance(problem, OSError) else None) or type(problem).__name__
        raise InputError(f"{path} cannot be read", seen=seen) from problem


def load(text: str, name: str) -> dict[str, Any]:
    """An object.

    Args:
        text: what the file holds.
        name: of the file, for messages.

    Raises:
        InputError: if it is no JSON object, or holds what no command of ours writes.
    """
    try:
        _require_shallow(text)
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_bounded, parse_float=_finite
        )
    except _RefusedError as refused:
        raise InputError(name, seen=str(refused), expected=refused.expected) from None
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{name} is not JSON", seen=str(problem)[:120]) from None
    if not isinstance(value, dict):
        raise InputError(name, seen="JSON that is no object", expected="an object")
    return value


class _RefusedError(Exception):
    def __init__(self, seen: str, expected: str) -> None:
        super().__init__(seen)
        self.expected = expected


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _RefusedError(f"the key {key[:40]!r} twice in one object", "each key once")
        made[key] = value
    return made


def _no_constant(word: str) -> NoReturn:
    raise _RefusedError(word, "finite numbers")


def _bounded(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _RefusedError(f"a number of {len(digits):,} digits", "numbers that a score has")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _RefusedError(f"the number {digits[:40]}", "finite numbers")
    return value


def _require_shallow(text: str) -> None:
    """Python's reader would go as deep as its stack."""
    depth = 0
    for part in re.finditer(r'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', text, flags=re.DOTALL):
        mark = part[0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > _DEEPEST:
            raise _RefusedError(f"more than {_DEEPEST} levels of nesting", "what a command of ours writes")
