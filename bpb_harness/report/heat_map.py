"""A document's text, coloured by what each byte of it cost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import final

from bpb_harness.excerpt import Excerpt

EDGES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # bits a byte between two colours
UNPAID = -1


@final
@dataclass(frozen=True)
class Run:
    """Characters of one colour.

    Attributes:
        text: as it is shown.
        level: 0 to 6, how many of `EDGES` it reaches; `UNPAID` for what was not paid for.
        is_mark: whether it stands for a token that spells nothing.
    """

    text: str
    level: int
    is_mark: bool = False


def heat_runs(excerpt: Excerpt) -> list[Run]:
    """The text of an excerpt in runs of one colour.

    A token's bits are spread evenly over its bytes, and a character costs the mean of its bytes: which of them cost how
    much cannot be told. Bytes that are no UTF-8 are shown by their numbers, and new lines by a sign before they break.
    """
    runs = []
    for (level, is_mark), characters in groupby(_characters(excerpt), lambda each: (each.level, each.is_mark)):
        runs.append(Run("".join(each.text for each in characters), level, is_mark))
    return runs


def _characters(excerpt: Excerpt) -> Iterator[Run]:
    spelled = b"".join(piece.spelled for piece in excerpt.pieces)
    costs: list[float | None] = []
    marks: dict[int, list[Run]] = {}
    for piece in excerpt.pieces:
        count = len(piece.spelled)
        if count:
            costs += [None if piece.bits is None else piece.bits / count] * count
        elif piece.name:
            marks.setdefault(len(costs), []).append(Run(piece.name, _level([piece.bits]), is_mark=True))
    place = 0
    for character in spelled.decode("utf-8", "surrogateescape"):
        stop = place + len(character.encode("utf-8", "surrogateescape"))
        yield from _before(marks, place, stop)
        yield Run(_shown(character), _level(costs[place:stop]))
        place = stop
    yield from _before(marks, place, place + 1)


def _before(marks: dict[int, list[Run]], start: int, stop: int) -> Iterator[Run]:
    for place in range(start, stop):
        yield from marks.get(place, ())


def _level(costs: list[float | None]) -> int:
    known = [cost for cost in costs if cost is not None]
    return bisect_right(EDGES, sum(known) / len(known)) if known else UNPAID


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how surrogateescape writes a byte that is no UTF-8
        return f"<\\x{ord(character) - 0xDC00:02X}>"
    return "\u21b5\n" if character == "\n" else character
