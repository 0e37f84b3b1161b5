"""How a command ends."""

from __future__ import annotations

import sys
from typing import Annotated

import pytest
import typer
import typer.main

from bpb_harness.cli._run import repeat_flags, run
from bpb_harness.errors import ContractError, CorpusError


def _end(monkeypatch, capsys, command, *arguments):
    app = typer.Typer(add_completion=False)
    app.command()(command)
    monkeypatch.setattr(sys, "argv", ["bpb-x", *arguments])
    with pytest.raises(SystemExit) as end:
        run(app, "bpb-x")
    return end.value.code, capsys.readouterr().err


def _raiser(error):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CorpusError("x.bin is short", seen=3, hint="look"), 2, "bpb-x: x.bin is short: got 3; look"),
        (ContractError("cheats"), 4, "cheats"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(2, "No such file or directory", "a.bin"), 2, "a.bin: No such file or directory"),
        (ZeroDivisionError("two\nlines"), 70, "please report"),
        (typer.Exit(3), 3, ""),
        (typer.BadParameter("no such thing"), 2, "no such thing"),
    ],
)
def test_every_error_is_one_line_and_its_exit_code(monkeypatch, capsys, error, code, words):
    monkeypatch.delenv("BPB_TRACEBACK", raising=False)
    seen_code, stderr = _end(monkeypatch, capsys, _raiser(error))
    assert (seen_code or 0) == code
    assert words in stderr
    assert stderr.count("\n") == (1 if words else 0)


def test_a_wrong_flag_is_one_line(monkeypatch, capsys):
    code, stderr = _end(monkeypatch, capsys, lambda: None, "--wrong")
    assert code == 2
    assert stderr.count("\n") == 1
    assert "--wrong" in stderr
    assert "bpb-x --help" in stderr


def test_a_traceback_on_request(monkeypatch, capsys):
    monkeypatch.setenv("BPB_TRACEBACK", "1")
    _, stderr = _end(monkeypatch, capsys, _raiser(ZeroDivisionError("x")))
    assert "Traceback" in stderr


def test_a_returned_number_is_the_exit_code(monkeypatch, capsys):
    def command() -> int:
        return 3

    assert _end(monkeypatch, capsys, command) == (3, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--data a b c --flag", "--data a --data b c --flag"),
        ("ckpt --data a b", "ckpt --data a --data b"),
        ("--data a b ckpt", "--data a --data b ckpt"),
        ("--data a ckpt", "--data a ckpt"),
        ("--flag ckpt --data=a b", "--flag ckpt --data=a --data b"),
        ("ckpt --seed 3 --data a b --seed 4", "ckpt --seed 3 --data a --data b --seed 4"),
        ("--data a -- b ckpt", "--data a -- b ckpt"),
        ("ckpt --data", "ckpt --data"),
    ],
)
def test_a_repeatable_option_takes_several_words(words, expected):
    def command(checkpoint: str, data: Annotated[list[str], typer.Option()], seed: int = 0, flag: bool = False) -> None:
        pass

    app = typer.Typer(add_completion=False)
    app.command()(command)
    assert repeat_flags(typer.main.get_command(app), words.split()) == expected.split()


@pytest.mark.parametrize(
    ("given", "suggested"),
    [("--bogus", ""), ("--tokenzier", "--tokenizer"), ("--toke", "--tokenizer"), ("--doc", "--docs")],
)
def test_only_flags_that_it_may_be_a_slip_for_are_suggested(monkeypatch, capsys, given, suggested):
    def command(docs: str = "", tokenizer: str = "") -> None:
        pass

    _, stderr = _end(monkeypatch, capsys, command, given, "x")
    assert given in stderr
    assert [flag for flag in ("--docs", "--tokenizer") if flag in stderr] == ([suggested] if suggested else [])
