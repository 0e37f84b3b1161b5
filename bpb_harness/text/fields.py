"""The keys or columns whose texts are read, and what to say of one that is not there."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from bpb_harness.errors import CorpusError


@final
@dataclass(frozen=True)
class TextField:
    """A key or column of texts.

    Attributes:
        name: of the key or column.
        flag: what names it.
        noun: what its text is.
        needs_text: whether an empty text is refused.
        is_label: numbers, true, false and null serve as well as texts, and are read as JSON writes them.
    """

    name: str
    flag: str = "--text-field"
    noun: str = "text"
    needs_text: bool = False
    is_label: bool = False


@final
@dataclass(frozen=True)
class Record:
    """What one document holds.

    Attributes:
        where: the file, and the line (from 1) or row (from 0) in it.
        texts: one a field that was asked for.
    """

    where: str
    texts: tuple[str, ...]


@final
class Written(str):
    """A label that is no text: a number, true, false or null, as JSON writes it."""

    __slots__ = ()


def label_of(value: object) -> str | None:
    """A text as it is, a number, true, false or null as JSON writes it; None: no label."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return Written(json.dumps(value))
    return None


def pass_flag(field: TextField, texts: Iterable[str], fields: Sequence[TextField]) -> str:
    """The next step where a field is not there.

    Args:
        field: the one.
        texts: the names of what is there and holds texts.
        fields: all that were asked for.
    """
    others = [name for name in texts if name not in [each.name for each in fields]]
    if not others and not field.is_label:
        return "nothing else there is a text: name a file that holds one"
    close = difflib.get_close_matches(field.name, others, 1)
    if close and len(others) > 1:
        return f"did you mean {field.flag} {close[0]}?"
    named = " or ".join(f"{field.flag} {name}" for name in others) if len(others) <= _FEW else ""
    return f"pass {named or f'{field.flag} NAME'}"


_FEW = 3  # names that are all shown


def require_text(where: str, field: TextField, text: str) -> None:
    """Refuse an empty text where there must be one.

    Raises:
        CorpusError: with its place.
    """
    if field.needs_text and not text:
        raise CorpusError(
            f"{where}: the {field.noun} is empty", seen=f"'' under {field.name!r}", expected="a text",
            hint="leave that document out",
        )  # fmt: skip
