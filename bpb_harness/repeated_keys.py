"""JSON in which no key has two values: Python's reader would take the last of them, other readers the first."""

from __future__ import annotations

import json
from typing import Any


class KeyGivenTwiceError(ValueError):
    """A key that stands twice in one object, with two values."""


def load_once(text: str | bytes) -> Any:
    """JSON as :func:`json.loads` gives it.

    Raises:
        KeyGivenTwiceError: a key stands twice in one object, with two values; it names the key.
        ValueError: no JSON.
        RecursionError: nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        for key, value in pairs:
            if repr(content[key]) != repr(value):  # 1 == True, but not as a setting
                shown = key if len(key) <= 40 else key[:40] + "..."
                raise KeyGivenTwiceError(f"the key {shown!r} is there twice, with two values")
    return content
