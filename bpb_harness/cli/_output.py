"""Where results go: stdout, or a file that is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import typer

from bpb_harness.errors import UsageError


def write_output(text: str, path: Path | None) -> None:
    """Print ``text``, or write it to ``path`` through a temporary file beside it.

    Raises:
        UsageError: if the folder does not exist.
    """
    if path is None:
        typer.echo(text)
        return
    if not path.parent.is_dir():
        raise UsageError("--output", seen=str(path), expected="a file in a folder that exists")
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
