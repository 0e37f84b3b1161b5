"""What a command printed, read by its words: where lines are broken is the layout's affair, and tested there."""

from __future__ import annotations

import re

_PROGRESS = re.compile(r"bpb-\w+: .*, (\d+:)?\d+:\d\d(, about (\d+:)?\d+:\d\d left)?")


def words_of(text: str) -> str:
    """The text with one space wherever there was white space."""
    return " ".join(text.split())


def signature_line(text: str) -> str:
    """The one line that is a signature."""
    (line,) = [line for line in text.splitlines() if line.startswith("bpb|")]
    return line


def without_progress(text: str) -> str:
    """The text without the lines that a command writes every half minute, as a busy machine makes it do."""
    return "".join(line for line in text.splitlines(keepends=True) if not _PROGRESS.fullmatch(line.rstrip("\n")))
