"""``python -m bpb_harness``: which commands it has, and that it says so."""

from __future__ import annotations

import sys
import tomllib

import pytest

from bpb_harness.__main__ import COMMANDS, main


def test_the_commands_are_those_that_are_installed(repository):
    scripts = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert {f"bpb-{name}": f"{module}:main" for name, module in COMMANDS.items()} == scripts


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_each_command_with_its_first_sentence(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["bpb_harness", flag])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-2]] == list(COMMANDS)
    assert lines[2] == (
        "  eval     Score a checkpoint in bits per byte, with the error of the score and everything it depends on."
    )
