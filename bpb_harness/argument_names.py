"""Errors of a command's options, said to who calls a function: with the names of its arguments."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from bpb_harness.errors import UsageError

_OPTION = re.compile(r"--(?P<name>[a-z][a-z0-9-]{0,40})(?P<value> [A-Z]{3,}\b| none\b)?")


@contextmanager
def named_as_arguments(names: Collection[str]) -> Iterator[None]:
    """Say of each option that a refusal names which argument it is; what shows a command to run stays a command.

    Args:
        names: the function's arguments that are options of a command too.
    """
    try:
        yield
    except UsageError as problem:
        what, expected, hint = (_said(part, names) for part in (problem.what, problem.expected, problem.hint))
        named = type(problem)(what or "", seen=problem.seen, expected=expected, hint=hint)
        if str(named) == str(problem):
            raise
        raise named from None


def _said(part: object, names: Collection[str]) -> str | None:
    text = None if part is None else str(part)
    return text if text is None or "bpb-" in text else _OPTION.sub(lambda found: _argument(found, names), text)


def _argument(found: re.Match[str], names: Collection[str]) -> str:
    name = found["name"].replace("-", "_")
    if name not in names:
        return found[0]
    value = (found["value"] or "").strip()
    return f"{name}={value if value != 'none' else repr(value)}" if value else name
