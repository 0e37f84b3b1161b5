"""Write what every command takes into docs/commands.md, from the commands themselves: ``make tables``."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import typer
import typer.main

PAGE = Path(__file__).with_name("commands.md")
START, END = "<!-- commands: start -->\n", "<!-- commands: end -->"
ROOT = Path(__file__).parents[1]
# What a value is, in the words of a shell's user; a switch takes none.
KINDS = {"Path": "path", "int": "whole number", "float": "number", "str": "text", "bool": ""}


def apps() -> dict[str, typer.Typer]:
    """The commands that are installed, by name, in the order of pyproject.toml."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    return {name: importlib.import_module(entry.partition(":")[0]).app for name, entry in scripts.items()}


def sections() -> str:
    """A section a command: what it is for, how it is called, and a row for everything that it takes."""
    parts = []
    for name, app in apps().items():
        command = typer.main.get_command(app)
        (registered,) = app.registered_commands
        kinds = {each.name: _kind(each.annotation) for each in _parameters(registered.callback)}
        taken = [each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)]
        words = " ".join(each.metavar or each.name.upper() for each in taken if each.param_type_name == "argument")
        usage = f"{name} [OPTIONS] {words}".rstrip() if taken else f"{name} ..."
        parts += [f"## {name}\n", f"{_plain(command.help)}\n", f"    {usage}\n"]
        if taken:
            parts += ["| option | takes | default | meaning |", "|---|---|---|---|", *_rows(taken, kinds), ""]
    return "\n".join(parts)


def _rows(taken: list[Any], kinds: dict[str, str]) -> Iterator[str]:
    for each in taken:
        is_argument = each.param_type_name == "argument"
        names = [each.metavar or each.name.upper()] if is_argument else [*each.opts, *each.secondary_opts]
        default = each.default if isinstance(each.default, str | int | float) and each.default is not False else None
        cells = (
            ", ".join(f"`{name}`" for name in names), kinds[each.name],
            "required" if each.required else "" if default is None else f"`{default}`", _plain(each.help or ""),
        )  # fmt: skip
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _parameters(callback: Any) -> list[Any]:
    return list(signature(callback, eval_str=True).parameters.values())


def _kind(annotation: Any) -> str:
    """``Annotated[list[Path] | None, ...]`` is "paths"."""
    inner = get_args(annotation)[:1] if hasattr(annotation, "__metadata__") else (annotation,)
    kinds = [kind for kind in (get_args(inner[0]) or inner) if kind is not NoneType]
    many = "list" in str(inner[0])
    kind = (get_args(kinds[0]) or kinds)[0]
    said = KINDS.get(getattr(kind, "__name__", str(kind)), "text")
    return f"{said}s" if many and said not in {"", "text"} else f"{said}, may be repeated" if many else said


def _plain(words: str) -> str:
    """Help is plain text: an asterisk is an asterisk."""
    return words.replace("*", "\\*").strip()


def page(before: str) -> str:
    """The page with the sections as they are now."""
    above, _, rest = before.partition(START)
    return above + START + "\n" + sections() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
