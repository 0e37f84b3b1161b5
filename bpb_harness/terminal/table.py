"""A table whose last columns stand under each row where the screen is too narrow for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

from bpb_harness.terminal.page import Page, Style, broken

_GAP, _INDENT = 2, 4
_MIN_OF_PROSE = 30  # columns that a last one needs to stand beside the others


@final
@dataclass(frozen=True)
class Column:
    """A column of text.

    Attributes:
        name: its head.
        widest: columns that it takes at most; a longer word stands on a line of its own.
        is_number: whether it is set to the right.
    """

    name: str
    widest: int = 1000
    is_number: bool = False


def add_table(
    page: Page,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[Style] = (),
    styled: int = 0,
    has_prose: bool = True,
) -> None:
    """Add a head and the rows; nothing is cut.

    Args:
        page: where to.
        columns: each with its head.
        rows: a cell a column.
        styles: of one cell of each row; none: all plain.
        styled: which cell.
        has_prose: the last column holds sentences, which are broken to what the others leave.
    """
    heads = [column.name for column in columns]
    cells = [heads, *rows]
    widths = [min(column.widest, max(len(row[at]) for row in cells)) for at, column in enumerate(columns)]
    beside = _num_beside(widths, page.width, has_prose=has_prose)
    if has_prose and beside == len(columns):
        widths[-1] = page.width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
    for number, row in enumerate(cells):
        style: Style = "dim" if number == 0 else styles[number - 1] if styles else ""
        _add_row(page, row[:beside], widths, columns, style, styled if number else None)
        if beside < len(columns):
            page.paragraph(": ".join(cell for cell in row[beside:] if cell), "" if number else "dim", indent=_INDENT)


def _num_beside(widths: Sequence[int], screen: int, *, has_prose: bool) -> int:
    """How many columns stand beside each other."""
    needed = [*widths[:-1], min(widths[-1], _MIN_OF_PROSE) if has_prose else widths[-1]]
    count = len(needed)
    while count > 1 and sum(needed[:count]) + _GAP * (count - 1) > screen:
        count -= 1
    return count


def _add_row(
    page: Page,
    cells: Sequence[str],
    widths: Sequence[int],
    columns: Sequence[Column],
    style: Style,
    styled: int | None,
) -> None:
    """One row, of as many lines as its longest cell; ``styled``: which cell has the style, None: all."""
    if len(cells[0]) > widths[0]:
        page.whole(cells[0])
        cells = ["", *cells[1:]]
    pieces = [broken(cell, width) for cell, width in zip(cells, widths, strict=False)]
    for line in zip_longest(*pieces, fillvalue=""):
        parts: list[tuple[str, Style]] = []
        for at, (piece, width) in enumerate(zip(line, widths, strict=False)):
            placed = piece.rjust(width) if columns[at].is_number else piece.ljust(width)
            parts += [(placed, style if styled in (None, at) else ""), (" " * _GAP, "")]
        page.line(*parts[:-1])
