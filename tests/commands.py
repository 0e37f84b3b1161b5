"""A command run inside the tests' own process: what it prints and its exit code, without importing everything again.

What a process alone can show (what is imported, signals, limits, what is said at its end) needs one of its own.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import typer.main

from bpb_harness.cli import _progress

# A command's options are made once: that takes longer than many a command does.
_commands = functools.cache(typer.main.get_command)


def settle(patch: pytest.MonkeyPatch) -> None:
    """What a command says does not depend on how long it takes, and its options are made once."""
    patch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 1e6)
    patch.setattr(typer.main, "get_command", _commands)


@contextmanager
def _captured(descriptor: int) -> Iterator[tuple[IO[str], IO[bytes]]]:
    """A text stream over a descriptor that leads to a file for a while, so that lines of C code are seen as well."""
    before = os.dup(descriptor)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), descriptor)
            with io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding="utf-8", write_through=True) as s:
                yield s, file
    finally:
        os.dup2(before, descriptor)
        os.close(before)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def run_line_here(line: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line that a page prints: ``bpb-eval ...``, ``python -m MODULE ...`` or ``python FILE ...``."""
    command, *words = line.split()
    if command.startswith("bpb-"):
        return run_here(
            importlib.import_module(f"bpb_harness.cli.{command.removeprefix('bpb-')}").main, *words, cwd=cwd
        )
    assert command == "python", line
    module = words.pop(0) == "-m" and words.pop(0)
    program = module or line.split()[1]

    def main() -> None:
        if module:
            # The module may be there by its own name: this is another one, called __main__, as in a process.
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(program, run_name="__main__")
        raise SystemExit(0)

    with warnings.catch_warnings():
        return run_here(main, *words, cwd=cwd)


def run_here(
    main: Callable[[], object],
    *arguments: object,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the main function of a command; looks like a finished process.

    Args:
        main: ``main`` of a module of ``bpb_harness.cli``, which must leave by SystemExit.
        arguments: the words behind the command's name.
        cwd: the folder in which it runs.
        environment: variables to set; those of the harness (``BPB_...``) are unset otherwise.
    """
    words = [str(word) for word in arguments]
    name = f"bpb-{main.__module__.rsplit('.', 1)[-1]}"
    with pytest.MonkeyPatch.context() as patch, _captured(1) as (out, out_file), _captured(2) as (err, err_file):
        for variable in [key for key in os.environ if key.startswith("BPB_") and key != "BPB_LAB"]:
            patch.delenv(variable)
        for variable, value in (environment or {}).items():
            patch.setenv(variable, value)
        if cwd is not None:
            patch.chdir(cwd)
        for attribute, value in (("argv", [name, *words]), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, attribute, value)
        settle(patch)
        with pytest.raises(SystemExit) as ended:
            main()
        code: Any = ended.value.code
        return subprocess.CompletedProcess([name, *words], code or 0, _read(out_file), _read(err_file))
