"""What a command printed, read by its words: where lines are broken is the layout's affair, and tested there."""

from __future__ import annotations


def words_of(text: str) -> str:
    """The text with one space wherever there was white space."""
    return " ".join(text.split())


def signature_line(text: str) -> str:
    """The one line that is a signature."""
    (line,) = [line for line in text.splitlines() if line.startswith("bpb|")]
    return line
