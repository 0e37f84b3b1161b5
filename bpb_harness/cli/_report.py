"""What the commands that write a page have in common: its name, and the line that makes it again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS

_SUFFIXES = (".html", ".htm")


def require_html(path: Path | None) -> None:
    """Refuse a page that no browser would take for one.

    Raises:
        UsageError: for another ending.
    """
    if path is not None and path.suffix.lower() not in _SUFFIXES:
        raise UsageError("--report", seen=repr(path.name), expected="a file name that ends in .html")


def command_line(command: str) -> str:
    """The command with its words as a shell takes them."""
    return shlex.join([command, *sys.argv[1:]])


def settings_for_report(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that also keep the tables that a page is made of, where the method and --resume allow them."""
    has_tokens = settings["resume"] is None and not METHODS[settings["method"]].enumerates
    return settings | {"with_windows": True, "with_tokens": settings["with_tokens"] or has_tokens}
