"""Settings that a README's commands give to what they start: ``export STEPS=64``, ``STEPS=64 python evaluate.py``.

A script that asks the environment for them does otherwise without: its default is not what ran.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_LARGEST_README = 1 << 18  # characters
_MAX_SETTINGS = 400
_FENCE = re.compile(r"^[ \t]{0,8}(?:```|~~~)[^\n]*$", re.MULTILINE)
# A name in capitals and its value, with no space between: Python's own assignments are no settings of a command.
_SETTING = re.compile(
    r"(?<![\w$.=-])(?P<name>[A-Z][A-Z0-9_]{1,59})=(?:\"(?P<double>[^\"\n]{0,200})\"|'(?P<single>[^'\n]{0,200})'"
    r"|(?P<plain>[^\s\"'`;&|<>()$]{1,200}))(?=[\s;&|\\`)]|$)"
)
_COMMENT = re.compile(r"(?:^|\s)#[^\n]*")


def settings_of(text: str) -> Mapping[str, str]:
    """What the commands of a README set in the environment, where all of them agree.

    A setting that two commands give two values is left out: nothing says which of them made the score.

    Args:
        text: the README.
    """
    found: dict[str, set[str]] = {}
    for block in _code_of(text[:_LARGEST_README]):
        for match in _SETTING.finditer(_COMMENT.sub(" ", block)):
            value = next(part for part in match.group("double", "single", "plain") if part is not None)
            found.setdefault(match["name"], set()).add(value)
    agreed = {name: values.pop() for name, values in found.items() if len(values) == 1}
    known = {name: value for name, value in agreed.items() if "$" not in value}
    return dict(list(known.items())[:_MAX_SETTINGS])


def _code_of(text: str) -> Iterator[str]:
    """The insides of fences; one that is never closed ends with the text."""
    inside = _FENCE.split(text)[1::2]
    yield from inside
