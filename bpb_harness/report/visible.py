"""Text of strangers, made visible: nothing in it may act on the page or on its reader."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
# Separators of lines and paragraphs; characters of control, of format (direction marks, zero widths), of no meaning.
_SHOWN_BY_NUMBER = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """The text with every character that has no shape of its own written as ``<U+202E>``; new lines and tabs stay.

    A zero width joiner goes with them: what a reader does not see may not be told from what is not there.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _SHOWN_BY_NUMBER:
        return character
    return f"<U+{ord(character):04X}>"


def cut(text: str, most: int) -> str:
    """The beginning of a text, and how many characters are left out.

    Args:
        text: of any length.
        most: characters that are kept.
    """
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]} ... ({left_out:,} more characters)"
