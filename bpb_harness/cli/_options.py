"""Options that several commands have, with one name and one line of ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

from bpb_harness._version import __version__
from bpb_harness.cli._explain import explain_and_exit


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"bpb-harness {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]
Explain = Annotated[
    str | None,
    typer.Option("--explain", metavar="CODE", callback=explain_and_exit, is_eager=True, help="Say what a code means."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing of what is being done.")]
