"""Commands of a workflow as GitHub's runner reads them: https://docs.github.com/actions, "Workflow commands"."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"::([A-Za-z-]+)(?: ([^:]*))?::(.*)")


@dataclass(frozen=True)
class WorkflowCommand:
    """A line of output that the runner obeys."""

    name: str
    properties: dict[str, str]
    message: str


def read_commands(output: str) -> list[WorkflowCommand]:
    """The commands of an output; other lines are not for the runner."""
    matches = [_LINE.fullmatch(line.strip()) for line in output.splitlines()]
    return [_command(*match.groups(default="")) for match in matches if match is not None]


def _command(name: str, properties: str, message: str) -> WorkflowCommand:
    pairs = [pair.split("=", 1) for pair in properties.split(",") if pair]
    return WorkflowCommand(name, {key: _read(value) for key, value in pairs}, _read(message))


def _read(text: str) -> str:
    for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, character)
    return text
