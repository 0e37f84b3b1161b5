"""Lines of a log that print figures of a run: losses, scores, sizes, times. Of each shape the first.

A shape is a line with its numbers taken out, so that ten thousand steps of training are one. Hyperparameters, a name
and a value a line, are left out, for a loop over names prints them; JSON too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Where the number of a figure stands: in a line, a number; in a template, the place of one too.
NUMBER_PLACE = "\0"
_QUANTITY = (
    r"(?:loss|bpb|BPB|param(?:eter)?s|time|tokens|bytes|memory|avg)[a-z_]{{0,40}}[\"']?\s?[:=]\s?(?:[-+]?[0-9\0]{0})"
    r"|[:=]\s?[0-9\0][0-9,.\0]*\s?(?:bytes|MiB|MB|GB|ms|params)\b"
)
_FIGURE = re.compile(_QUANTITY.format(""))
_NAMES_FIGURE = re.compile(_QUANTITY.format(r"|\Z"))  # print("val_loss:", loss)
# A key of a dictionary alone is none.
_NAMES_SCORE = re.compile(
    r"(?:bpb|bits[ _]per[ _]byte)[a-z0-9_ ]{0,40}[\"')]?(?: ?[:=] ?(?:[-+]?[0-9\0]|\Z)| \0)", re.IGNORECASE
)
# A name and its value, behind a time or the mark of a process at most.
_SETTING = re.compile(r"(?:[^A-Za-z\s]{1,40} |\S{0,40}\]:? ?){0,2}[\w.\-]{1,80} ?[:=] ?\S{1,400}\Z")
_DIGITS = str.maketrans("123456789", "000000000")
_NUMBERS = re.compile(r"0[0.,]*")
_LONGEST_LINE, _LONGEST_SHAPE, _MOST_SHAPES = 2000, 80, 400
_BEGINS_JSON = ('"', "'", "{")


@dataclass(frozen=True)
class FigureLine:
    """A line that prints figures.

    Attributes:
        number: of the line in its file, from 1.
        text: the line, each run of blanks as one.
        figure_at: where its first figure stands.
    """

    number: int
    text: str
    figure_at: int


def names_figure(template: str) -> bool:
    """Whether a text with places for numbers (``NUMBER_PLACE``), or for one behind it, prints a figure."""
    return _NAMES_FIGURE.search(template) is not None


def names_score(template: str) -> bool:
    """Whether such a text prints a score in bits per byte."""
    return _NAMES_SCORE.search(template) is not None


def figure_line(text: str, number: int) -> FigureLine | None:
    """A line of a log, if it prints figures and is no setting and no JSON."""
    line = " ".join(text[:_LONGEST_LINE].split())
    found = _FIGURE.search(line)
    if found is None or line.startswith(_BEGINS_JSON) or _SETTING.match(line):
        return None
    return FigureLine(number, line, found.start())


def figure_lines(text: str) -> list[FigureLine]:
    """The first line of each shape.

    Args:
        text: of a log.
    """
    shapes: dict[str, FigureLine] = {}
    for number, line in _first_of_each(text):
        found = figure_line(line, number)
        if found is not None and len(shapes) < _MOST_SHAPES:
            masked = found.text.translate(_DIGITS)
            shapes.setdefault(_NUMBERS.sub("#", masked)[:_LONGEST_SHAPE], found)
    return list(shapes.values())


def _first_of_each(text: str) -> Iterator[tuple[int, str]]:
    """Of the lines that differ in their digits alone the first, with its number: far fewer than all of them."""
    lines, masked = text.split("\n"), text.translate(_DIGITS).split("\n")
    first: dict[str, int] = {}
    for number, line in enumerate(masked):
        first.setdefault(line, number)
    for number in first.values():
        # A progress bar rewrites its line after each carriage return.
        yield from ((number + 1, part) for part in lines[number].split("\r") if part)
