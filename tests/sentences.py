"""Texts that a regular expression finds, written from the expression itself: every choice that it leaves is made."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_ASCII = [chr(code) for code in range(32, 127)]
_IN_CATEGORY = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_SPACE: r"\s", op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_MOST_REPEATED = 2  # beyond the fewest
_TRIES = 1000  # of each text: what stands around a part may forbid what was written for it


def found_by(pattern: re.Pattern[str], count: int) -> Iterator[str]:
    """So many texts, the same every time, in each of which ``pattern`` finds something."""
    writer, parsed = _Writer(), parser.parse(pattern.pattern, pattern.flags)
    for _ in range(count):
        drafts = (writer.text(parsed) for _ in range(_TRIES))
        found = next((text for text in drafts if pattern.search(text)), None)
        assert found is not None, "the pattern finds nothing of what was written from it"
        yield found


class _Writer:
    """Draws: of alternatives each is taken once before one is taken again."""

    def __init__(self) -> None:
        self._draw = random.Random(0)
        self._left: dict[int, list[Any]] = {}  # of the alternatives of each place
        self._chars: dict[int, list[str]] = {}  # of the class of characters of each place

    def text(self, parts: Any) -> str:
        return "".join(self._part(code, value) for code, value in parts)

    def _part(self, code: Any, value: Any) -> str:
        if code is op.LITERAL:
            return self._draw.choice([chr(value).lower(), chr(value).upper()])
        if code is op.BRANCH:
            return self.text(self._alternative(value[1]))
        if code is op.SUBPATTERN:
            return self.text(value[3])
        if code in (op.MAX_REPEAT, op.MIN_REPEAT):
            fewest, most, repeated = value
            count = self._draw.randint(fewest, min(most, fewest + _MOST_REPEATED))
            return "".join(self.text(repeated) for _ in range(count))
        if code in (op.AT, op.ASSERT, op.ASSERT_NOT):  # writes nothing; whether it holds is left to chance
            return ""
        if code is not op.IN:
            return self._draw.choice([char for char in _ASCII if _is_in(code, value, char)])
        if id(value) not in self._chars:
            self._chars[id(value)] = [char for char in _ASCII if _is_in(code, value, char)] or [chr(value[0][1])]
        return self._draw.choice(self._chars[id(value)])

    def _alternative(self, alternatives: list[Any]) -> Any:
        left = self._left.setdefault(id(alternatives), [])
        if not left:
            left += self._draw.sample(alternatives, len(alternatives))
        return left.pop()


def _is_in(code: Any, value: Any, char: str) -> bool:
    """Whether a class of characters has this one."""
    if code is op.IN:
        negated = value[0][0] is op.NEGATE
        return negated != any(_is_in(*member, char) for member in value[negated:])
    if code is op.RANGE:
        return bool(value[0] <= ord(char) <= value[1])
    if code is op.CATEGORY:
        return re.fullmatch(_IN_CATEGORY[value], char) is not None
    assert code in (op.LITERAL, op.NOT_LITERAL, op.ANY), code
    return code is op.ANY or (char == chr(value)) is (code is op.LITERAL)
