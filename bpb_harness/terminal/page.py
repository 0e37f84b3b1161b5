"""Rows of a label and a paragraph, broken between words; lines that are never broken."""

from __future__ import annotations

import io
import re
import textwrap
from typing import Literal, final

from bpb_harness.terminal.screen import Screen

Style = Literal["", "bold", "dim", "bold red", "bold green", "bold yellow", "red", "yellow"]

_CODE = re.compile("`[^`]{1,120}`")
_HELD = "\x00"  # a space within code, while lines are broken
_NARROW = 60  # columns; below, paragraphs stand under their labels


def broken(text: str, width: int) -> list[str]:
    """Lines of a text, broken between words alone, never within code; a longer word has a longer line.

    Code stands between backticks. At least one line.
    """
    kept = _CODE.sub(lambda code: code[0].replace(" ", _HELD), text)
    lines = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_HELD, " ") for line in lines] or [""]


def _harmless(text: str) -> str:
    """The text, with the number of each character that a terminal would obey or nobody would see: ``<U+001B>``."""
    return "".join(each if each.isprintable() else f"<U+{ord(each):04X}>" for each in text)


@final
class Page:
    """Text for a screen, made from the top down.

    Args:
        screen: what it is laid out for.
        label_width: columns that labels take, with the space behind them.
    """

    def __init__(self, screen: Screen, label_width: int) -> None:
        self._screen = screen
        self._indent = label_width if screen.width >= _NARROW else 2
        self._lines: list[list[tuple[str, Style]]] = []

    @property
    def width(self) -> int:
        """Columns of the screen."""
        return self._screen.width

    def line(self, *parts: tuple[str, Style]) -> None:
        """One line of parts that stand side by side."""
        *before, (last, style) = parts
        self._lines.append([(_harmless(text), each) for text, each in (*before, (last.rstrip(), style))])

    def gap(self) -> None:
        """An empty line, where something stands above and none is there yet."""
        if self._lines and self._lines[-1]:
            self._lines.append([])

    def whole(self, text: str, style: Style = "") -> None:
        """One line, however long: a terminal breaks it where it must, and gives it back whole when it is copied."""
        self.line((text, style))

    def paragraph(self, text: str, style: Style = "", indent: int = 0, hanging: int = 0) -> None:
        """Words over the whole width; ``hanging``: how much further than the first the other lines are indented."""
        first, *rest = broken(text, self._screen.width - indent)
        self.line((" " * indent + first, style))
        for line in broken(" ".join(rest), self._screen.width - indent - hanging) if rest else ():
            self.line((" " * (indent + hanging) + line, style))

    def row(self, label: str, text: str, style: Style = "", label_style: Style = "dim") -> None:
        """A label, and a paragraph beside it; under it on a narrow screen, or where the label is too long."""
        lines = broken(text, self._screen.width - self._indent)
        beside = len(label) < self._indent
        first = label.ljust(self._indent) if beside else label
        self.line((first, label_style), *([(lines[0], style)] if beside else []))
        for line in lines[int(beside) :]:
            self.line((" " * self._indent + line, style))

    def __str__(self) -> str:
        """The text, with escape sequences where the screen has colour."""
        if not self._screen.has_colour:
            return "\n".join("".join(part for part, _ in line).rstrip() for line in self._lines)
        from rich.console import Console
        from rich.text import Text

        file = io.StringIO()
        console = Console(file=file, force_terminal=True, color_system="standard", no_color=False, legacy_windows=False)
        for line in self._lines:
            console.print(Text.assemble(*line), soft_wrap=True, highlight=False)
        return file.getvalue().removesuffix("\n")
