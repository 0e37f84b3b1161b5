"""How wide the place is that text is written to, and whether it shows colour."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Self, TextIO, final

FILE_WIDTH = 100  # of files and pipes, whatever terminal stands behind them: the same text everywhere
_NARROWEST, _WIDEST = 40, 120  # columns; longer lines of prose are hard to read


@final
@dataclass(frozen=True)
class Screen:
    """Where text goes.

    Attributes:
        width: columns.
        has_colour: whether escape sequences are understood, and wanted.
    """

    width: int = FILE_WIDTH
    has_colour: bool = False

    @classmethod
    def of(cls, stream: TextIO | None = None) -> Self:
        """The terminal behind a stream (standard output, if none is given); a pipe or a file is no terminal.

        COLUMNS says how wide a terminal is where it does not say so itself; with NO_COLOR, of any value but an empty
        one, or TERM=dumb it has no colour.
        """
        stream = sys.stdout if stream is None else stream
        if stream is None or not stream.isatty():  # None where it is closed
            return cls()
        columns = shutil.get_terminal_size(fallback=(FILE_WIDTH, 24)).columns
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(min(max(columns, _NARROWEST), _WIDEST), not plain)
