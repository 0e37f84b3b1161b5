"""Text that is made of lines, broken between words for a terminal."""

from __future__ import annotations

from bpb_harness.terminal.page import Page
from bpb_harness.terminal.screen import Screen

_HANGING = 2  # columns by which what is left of a line stands further to the right


def laid_out(text: str, screen: Screen) -> str:
    """The lines for a terminal: none is cut, those with a signature stay whole, and the last, the verdict, is bold.

    Args:
        text: lines, some indented.
        screen: a terminal; a file, which gets lines as they are, is no matter of this function's.
    """
    page = Page(screen, _HANGING)
    *lines, last = text.splitlines() or [""]
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if "bpb|" in line:
            page.whole(line)
        else:
            page.paragraph(line.strip(), indent=indent, hanging=_HANGING)
    page.paragraph(last, "bold", hanging=_HANGING)
    return str(page)
