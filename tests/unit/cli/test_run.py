"""How a command ends where something is not installed, or where code that is not its own leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from bpb_harness.adapters.user_code import MODULE_NAME
from bpb_harness.cli import eval as scoring
from bpb_harness.cli._run import run
from bpb_harness.cli._unread import stderr_may_be_unread
from bpb_harness.errors import UsageError
from tests.commands import run_here
from tests.tiers import some_of


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


@pytest.mark.parametrize("code", [0, None, 1, "bye"])
def test_code_that_leaves_is_no_score(code: object) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise SystemExit(code)

    done = run_here(lambda: run(app, "bpb"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"bpb: code that is not of bpb-harness ended the program, with sys.exit({code!r}); let it return, or raise an "
        "error: BPB_TRACEBACK=1 shows where it stands\n"
    )


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("def logits(own): [].index(3)", 2, "net.py failed at line 1: ValueError: "),
        ("def logits(own):\n    own()", 70, "internal error, ZeroDivisionError: "),
    ],
)
def test_code_of_the_user_s_that_fails_is_not_a_fault_of_ours(body: str, code: int, said: str) -> None:
    """Behind it, what it called; ours again, if it called that."""
    users, ours = {"__name__": MODULE_NAME}, {"__name__": "bpb_harness.units"}
    exec(compile(body, "/somewhere/net.py", "exec"), users)
    exec("def own(): 1 / 0", ours)
    app = typer.Typer()

    @app.command()
    def command() -> None:
        users["logits"](ours["own"])  # type: ignore[operator]

    done = run_here(lambda: run(app, "bpb"))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"bpb: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("mend it; --no-contract scores all the same", "mend it; with bpb-eval, --no-contract scores all the same"),
        ("pass --own 3, or leave it out", "pass --own 3, or leave it out"),
        ("pass --bytes none for bits per token", "with bpb-eval, pass --bytes none for bits per token"),
        ("score it by bpb-eval with --score-file FILE", "score it by bpb-eval with --score-file FILE"),
        ("pass --of-nobody", "pass --of-nobody"),
    ],
)
def test_a_next_step_names_options_that_the_command_has_or_says_whose_they_are(hint: str, said: str) -> None:
    app = typer.Typer()

    @app.command()
    def command(own: int = 1) -> None:
        raise UsageError("x", seen=own, expected=2, hint=hint)

    done = run_here(lambda: run(app, "bpb"))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bpb: x: got 1, expected 2; {said}\n")


def test_options_of_bpb_eval_are_its_own() -> None:
    words = ("x.pt", "--data", "no.bin", "--tokenizer", "no.model")
    done = run_here(scoring.main, *words)
    assert done.returncode == 2
    assert "with bpb-eval" not in done.stderr


@pytest.mark.parametrize("option", ["--size", "--share"])
def test_a_value_that_is_no_number_is_shown(option: str) -> None:
    app = typer.Typer()

    @app.command()
    def command(size: int = 1, share: float = 1.0) -> None:
        raise AssertionError(size, share)

    done = run_here(lambda: run(app, "bpb"), option, "abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert option in done.stderr
    assert "'abc'" in done.stderr
    assert done.stderr.endswith("; see bpb --help\n")


@pytest.mark.parametrize(
    "module",
    some_of(["bpb_harness.cli.eval", "reference.train", "reference.export", "reference.submission"], everyday=1),
)
def test_a_reader_that_goes_away_is_no_error(module: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        words = [sys.executable, "-c", f"import {module} as m; m.main()", "--help"]
        done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def nobody_reads() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


FOLDER = "fixtures/claims/submissions"


REFUTED, OPEN = ["audit", f"{FOLDER}/wrong_space_twice"], ["audit", f"{FOLDER}/open_no_log"]
NOWHERE, MISTAKEN = ["audit", "nowhere"], ["compare", "a.score", "b.score", "--format", "none"]


@pytest.mark.parametrize(
    ("words", "code", "is_read"),
    some_of(
        [
            (REFUTED, 1, True), (OPEN, 3, False), (NOWHERE, 2, False), (MISTAKEN, 2, True),
            (REFUTED, 1, False), (OPEN, 3, True), (NOWHERE, 2, True), (MISTAKEN, 2, False),
        ],
        everyday=4,
    ),
)  # fmt: skip
def test_nobody_reads_what_is_said_on_stderr(words: list[str], code: int, is_read: bool, repository: Path) -> None:
    """`2>&1 | head -1` said that an expectation was met, or that bad input was refuted."""
    with nobody_reads() as pipe:
        command = [sys.executable, "-m", "bpb_harness", *words]
        out = subprocess.PIPE if is_read else pipe
        done = subprocess.run(command, stdout=out, stderr=pipe, check=False, cwd=repository)
    assert done.returncode == code


def test_a_message_that_nobody_reads_is_lost_without_an_error() -> None:
    code = (
        "import sys, typer; from bpb_harness.cli._run import run; app = typer.Typer()\n"
        "@app.command()\n"
        "def missed() -> None:\n"
        "    for _ in range(3): typer.echo('expected 1, got 2', err=True); sys.stderr.flush()\n"
        "    print('the score'); raise typer.Exit(1)\n"
        "run(app)"
    )
    with nobody_reads() as pipe:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=pipe, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "the score\n")


def test_stderr_is_what_it_was_behind_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    stream = sys.stderr
    with stderr_may_be_unread():
        sys.stderr.write("said\n")
        assert sys.stderr.isatty() is stream.isatty()
    assert sys.stderr is stream
    assert capsys.readouterr().err == "said\n"
