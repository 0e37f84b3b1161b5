"""Where results go: stdout, or a file that is written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bpb_harness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def write_output(text: str, path: Path | None) -> None:
    """Print ``text``, or write it to ``path``.

    Raises:
        UsageError: if the folder does not exist.
    """
    if path is None:
        typer.echo(text)
    else:
        _write_whole(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def write_parquet(frame: pd.DataFrame | None, path: Path) -> None:
    """Write a table to ``path``.

    Raises:
        UsageError: if the folder does not exist.
    """
    assert frame is not None
    _write_whole(path, lambda partial: frame.to_parquet(partial, index=False))


def require_folder(path: Path | None) -> None:
    """Refuse an output path that cannot be written, before the work is done rather than after."""
    if path is not None and path.is_dir():
        raise UsageError("output file", seen=f"{path}, a folder", expected="a file")
    if path is not None and not path.parent.is_dir():
        raise UsageError("output file", seen=str(path), expected="a file in a folder that exists")


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    require_folder(path)
    partial = path.with_name(path.name + ".partial")
    write(partial)
    partial.replace(path)
