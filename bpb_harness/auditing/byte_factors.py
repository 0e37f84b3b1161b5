"""By what the known byte bugs multiply the number of bytes: what a record can be held against without any text.

The catalogue of the bugs themselves, which counts them on any tokenizer and text, is byte_bugs.py.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parent / "data" / "byte_bug_factors.csv"


@dataclass(frozen=True)
class ByteFactor:
    """What a way of counting wrongly does to the number of bytes of the split.

    Attributes:
        name: the bug's name in the catalogue, byte_bugs.py.
        lowest: smallest known ratio of counted bytes to right bytes.
        highest: the largest; equal to ``lowest`` where the text fixes it whatever the tokenizer.
        story: what the code does, in one clause.
    """

    name: str
    lowest: float
    highest: float
    story: str

    @property
    def is_point(self) -> bool:
        """Whether the ratio is one number, so that meeting it is evidence."""
        return self.lowest == self.highest


@cache
def byte_factors() -> tuple[ByteFactor, ...]:
    """The factors of the catalogue's bugs on the contest's split."""
    with _TABLE.open(encoding="utf-8", newline="") as stream:
        return tuple(
            ByteFactor(row["bug"], float(row["lowest"]), float(row["highest"]), row["story"])
            for row in csv.DictReader(stream)
        )
