"""docs/commands.md is what its program writes: a section a command, a row for everything that each takes."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import typer.main

from bpb_harness.cli import prove


def test_the_page_lists_what_every_command_takes(repository: Path) -> None:
    writer = runpy.run_path(str(repository / "docs" / "commands_table.py"))
    text = (repository / "docs" / "commands.md").read_text("utf-8")
    assert writer["page"](text) == text, "make tables writes docs/commands.md again"
    scripts = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    apps = writer["apps"]()
    assert set(apps) == set(scripts)
    for name, app in apps.items():
        _, found, section = text.partition(f"\n## {name}\n")
        assert found, name
        section = section.partition("\n## ")[0]
        for taken in typer.main.get_command(app).params:
            if taken.name != "help" and taken.param_type_name == "option":
                assert all((f"`{option}`" in section) != taken.hidden for option in taken.opts), (name, taken.opts)


def test_what_a_proof_always_refuses_is_not_offered() -> None:
    hidden = {taken.name for taken in typer.main.get_command(prove.app).params if getattr(taken, "hidden", False)}
    ttt = {"ttt", "ttt_chunk", "ttt_lr", "ttt_momentum", "ttt_epochs", "ttt_batch", "ttt_clip"}
    assert hidden == {"compare", *ttt}


def test_kinds_are_said_in_words(repository: Path) -> None:
    writer = runpy.run_path(str(repository / "docs" / "commands_table.py"))
    rows = writer["sections"]().splitlines()
    for row in (
        "| `CHECKPOINT` | path | required | Checkpoint: a file or a folder. |",
        "| `PATH ...` | paths | required | Folders, each a claim; or files that belong to one claim. |",
        "| `--quiet` |  |  | Say nothing of what is being done. |",
        "| `--within` | number | `0.005` | How far from --expect it may be. |",
        "| `--limit` | whole number |  | Score only the first so many windows, or answers. |",
        "| `--data` | paths |  | Token shards: files, folders or patterns. |",
    ):
        assert row in rows, row
