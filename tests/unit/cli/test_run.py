"""How a command ends where something is not installed."""

from __future__ import annotations

import pytest
import typer

from bpb_harness.cli._run import run
from tests.commands import run_here


@pytest.mark.parametrize(
    ("missing", "code", "line"),
    [
        ("torch", 2, "bpb: torch is not installed, and this needs it; install it, or bpb-harness with all that it "),
        ("torch.nn", 2, "bpb: torch is not installed, and this needs it; "),
        ("bpb_harness.gone", 70, "bpb: internal error, ModuleNotFoundError: "),
    ],
)
def test_a_library_that_is_missing(missing: str, code: int, line: str) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    done = run_here(lambda: run(app, "bpb"))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
