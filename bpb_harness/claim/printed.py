"""Numbers as somebody printed them: the value, how many digits were shown, and where.

A score of 1.1465 says "between 1.14645 and 1.14655"; every comparison of two published numbers
needs those half units, or honest rounding looks like a contradiction.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_WHOLE = re.compile(NUMBER)
_LONGEST_NUMBER = 64


@dataclass(frozen=True)
class Source:
    """Where something was read: a file, and a line or a key in it."""

    file: str
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return place if self.key is None else f"{place} ({self.key})"


class PrintedFloat(float):
    """A float from a JSON file that remembers its digits; made by ``json.loads(parse_float=...)``."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    @classmethod
    def beyond_all(cls, digits: str) -> Self:
        """A number of so many digits that nothing is that large: infinite, with the digits remembered."""
        made = cls("inf")
        made.text = digits
        return made


@dataclass(frozen=True)
class Printed:
    """A finite number as it was printed.

    Attributes:
        value: the number.
        decimals: digits after the point that were printed, less than none where the last digits are unknown (13.28 MB);
            None where the number is not from a text.
        source: where it stands.
        name: what it was called there, such as ``val_bpb`` or ``final_int8_zlib_roundtrip_exact``.
    """

    value: float
    decimals: int | None
    source: Source
    name: str = ""

    @property
    def half_unit(self) -> float:
        """Half of the last printed digit: what rounding can have hidden."""
        return 0.0 if self.decimals is None else 0.5 * 10.0**-self.decimals

    def agrees_with(self, other: float, other_half_unit: float = 0.0) -> bool:
        """Whether rounding alone explains the difference; both numbers may be rounded.

        A number cut off instead of rounded, and a trailing zero that JSON dropped, are forgiven:
        the slack is a whole unit of the coarser print.
        """
        slack = 2.0 * max(self.half_unit, other_half_unit)
        return abs(self.value - other) <= slack * (1.0 + 1e-9) + 1e-12

    def __str__(self) -> str:
        return f"{self.value:.8g}" if self.decimals is None else f"{self.value:.{max(0, min(self.decimals, 12))}f}"


def decimals_of(text: str) -> int:
    """How many digits after the point a printed number shows, its exponent taken into account."""
    mantissa, _, exponent = text.lower().partition("e")
    shown = len(mantissa.partition(".")[2])
    return max(0, min(30, shown - (int(exponent) if exponent else 0)))


def parse_number(text: str, source: Source, name: str = "") -> Printed | None:
    """A printed number, or None where the text is not one finite number.

    Args:
        text: the digits alone, such as ``1.1465``, ``15,524,240`` or ``1e-3``.
        source: where they stand.
        name: what the number was called.
    """
    bare = text.strip()
    if "," in bare and re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?", bare):
        bare = bare.replace(",", "")
    if len(bare) > _LONGEST_NUMBER or not _WHOLE.fullmatch(bare):
        return None
    value = float(bare)
    return Printed(value, decimals_of(bare), source, name) if math.isfinite(value) else None


_COMMA = re.compile(r"(?<![0-9.,])([0-9]{1,2}),([0-9]{4,12})(?![0-9]|[.,][0-9])")  # 1,234 may be a thousand and more
_POINT = re.compile(r"[0-9]\.[0-9]")


def with_points(text: str) -> str:
    """A line with decimal points for its decimal commas: of no line that has a point between digits anywhere."""
    return _COMMA.sub(r"\1.\2", text) if "," in text and not _POINT.search(text) else text


_LEADING = re.compile(rf"^[\s~=<\u2248\u2264*`]*({NUMBER})(?![0-9]|[.,][0-9])")


def parse_leading_number(text: str, source: Source, name: str = "") -> Printed | None:
    """The number that a cell or a string starts with: ``1.1194 (3-seed mean)``, ``**1.08**``, ``~1.2 +- 0.1``."""
    found = _LEADING.match(with_points(text[:200]))
    return parse_number(found[1], source, name) if found else None


def from_json(value: object, source: Source, name: str = "") -> Printed | None:
    """A number from a parsed JSON value: a number, or a string that starts with one; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, PrintedFloat):
        return Printed(float(value), decimals_of(value.text), source, name) if math.isfinite(value) else None
    if isinstance(value, int):
        return Printed(float(value), 0, source, name) if abs(value) < 10**18 else None
    if isinstance(value, float):
        return Printed(value, None, source, name) if math.isfinite(value) else None
    return parse_leading_number(value, source, name) if isinstance(value, str) else None


def is_no_finite_number(value: object) -> bool:
    """Whether a parsed JSON value is null, NaN, infinite, or a number that no float can hold."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def as_written(value: object) -> str:
    """A parsed JSON value for a message, shortened: a number as the file has it."""
    if value is None:
        return "null"
    if not isinstance(value, PrintedFloat):
        return repr(value)[:_LONGEST_SHOWN]
    if len(value.text) <= _LONGEST_SHOWN:
        return value.text
    return f"{value.text[:_FIRST_DIGITS]}..., a number of {len(value.text):,} characters"


_LONGEST_SHOWN = 60
_FIRST_DIGITS = 12


def count_from_json(value: object) -> int | None:
    """A whole number of things (tokens, bytes, steps) from a parsed JSON value."""
    number = from_json(value, Source(""))
    if number is None and isinstance(value, str):
        number = parse_number(value, Source(""))
    if number is None or number.value != math.floor(number.value) or not 0 <= number.value < 10**15:
        return None
    return int(number.value)
