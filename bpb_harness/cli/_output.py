"""Where results go: stdout, or a file that is written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bpb_harness.cli._inputs import Inputs, without_links
from bpb_harness.cli._unread import let_go
from bpb_harness.errors import OutputError, UsageError
from bpb_harness.terminal.screen import Screen
from bpb_harness.whole_file import require_writable, write_whole, written

if TYPE_CHECKING:
    import pandas as pd


def write_output(text: str, path: Path | None) -> None:
    """Print ``text``, or write it to ``path``.

    Raises:
        UsageError: if the folder does not exist.
        OutputError: if it cannot be written.
    """
    if path is None and sys.stdout is None:
        raise OutputError("standard output cannot be written", seen="it is closed", hint="pass --output FILE")
    if path is None:
        with written("standard output"):
            try:
                typer.echo(text)
                sys.stdout.flush()
            except BrokenPipeError:  # `| head` has seen enough: the exit code still says what was found
                let_go(sys.stdout)
    else:
        require_folder(path)
        write_whole(path, lambda file: file.write(f"{text}\n".encode()))


def screen_of(path: Path | None) -> Screen:
    """What text is laid out for that `write_output` is to write."""
    return Screen.of(sys.stdout) if path is None else Screen()


def write_parquet(frame: pd.DataFrame | None, path: Path) -> None:
    """Write a table to ``path``; what its ``attrs`` say of it stands in the metadata of the file's schema.

    Raises:
        UsageError: if the folder does not exist.
        OutputError: if it cannot be written.
    """
    import pyarrow as pa  # deferred: takes a while to import
    from pyarrow import parquet

    assert frame is not None
    require_folder(path)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **frame.attrs})
    write_whole(path, lambda file: parquet.write_table(table, file))


def write_table(frame: pd.DataFrame | None, path: Path) -> None:
    """Write a table to ``path``: as CSV if its name ends so, else as Parquet.

    Raises:
        UsageError: if the folder does not exist.
        OutputError: if it cannot be written.
    """
    if path.suffix.lower() != ".csv":
        write_parquet(frame, path)
        return
    assert frame is not None
    require_folder(path)
    write_whole(path, lambda file: file.write(frame.to_csv(index=False, lineterminator="\n").encode()))


def require_folder(path: Path | None) -> None:
    """Refuse an output path that cannot be written, before the work is done rather than after."""
    if path is not None and path.is_dir():
        raise UsageError("output file", seen=f"{path}, a folder", expected="a file")
    if path is not None and without_links(path).is_symlink():
        raise UsageError("output file", seen=f"{path}, a link that leads back to itself", expected="a file")
    if path is not None and not path.parent.is_dir():
        raise UsageError("output file", seen=str(path), expected="a file in a folder that exists")


def require_outputs(outputs: Mapping[str, Path | None], inputs: Inputs) -> None:
    """Refuse files that cannot be written, or must not be, before the work is done.

    Args:
        outputs: the file of each flag; None for one that is not given.
        inputs: what the command reads, which it must not write over, nor write among.

    Raises:
        UsageError: for a file that two flags name, one in a folder that does not exist, or one that is read.
        OutputError: for one that the system does not let be written.
    """
    flags: dict[Path, str] = {}
    for flag, path in outputs.items():
        require_folder(path)
        if path is None:
            continue
        if (first := flags.setdefault(without_links(path), flag)) != flag:
            raise UsageError(f"{first} and {flag}", seen="the same file twice", expected="files of their own")
        if (why := inputs.reads(path)) is not None:
            raise UsageError(
                flag, seen=f"{path.name}, {why}", expected="a file of its own", hint="name another file to write"
            )
    for path in outputs.values():
        if path is not None:
            require_writable(path)
