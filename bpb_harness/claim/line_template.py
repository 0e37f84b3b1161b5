"""Lines of a log as a contest's scripts print them: text with places for numbers, ``step:{number} val_loss:{loss}``.

No regular expressions, which a pack of rules written by a stranger could make run forever on a log written by another:
every template becomes one whose parts are bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from bpb_harness.claim.printed import NUMBER, Printed, Source, parse_number

SCORE, LOSS, TOKENS = "score", "loss", "tokens"
# Of a time: what a unit is in seconds.
SECONDS = {
    "train_ms": 1e-3, "train_s": 1.0, "train_min": 60.0, "evaluate_ms": 1e-3, "evaluate_s": 1.0, "evaluate_min": 60.0,
}  # fmt: skip
_PRODUCT = r"[0-9][0-9,_]{0,20}(?: ?\* ?[0-9][0-9,_]{0,20}){0,3}"  # 20 * 524288, as settings in code have it
_PLACES: Mapping[str, str] = {
    SCORE: NUMBER, LOSS: NUMBER, "number": NUMBER, TOKENS: _PRODUCT, "text": r"[^\n]{0,60}?",
    **dict.fromkeys(SECONDS, NUMBER),
}  # fmt: skip
PLACES = tuple(_PLACES)
_SPOILT = rf"(?:{NUMBER}|[-+]?(?:[nN][aA][nN]|[iI][nN][fF](?:inity)?))"
_SPOILT_PLACES = {name: _SPOILT if pattern == NUMBER else pattern for name, pattern in _PLACES.items()}
_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_SHORTEST_TEXT, _MOST_PLACES, _MOST_TEXTS, _LONGEST = 3, 8, 2, 200
_NOTHING_GLUED = r"(?![0-9A-Za-z_%]|[.,][0-9])"
_MOST_DISTINCT = 20


@dataclass(frozen=True)
class LineTemplate:
    """What a line holds, somewhere in it.

    Args:
        text: literal text, any run of blanks for a blank, and places: ``{score}``, ``{loss}``, ``{tokens}``, times
            (``{train_ms}``, ``{evaluate_s}``), ``{number}`` for any other number, ``{text}`` for up to 60 characters.

    Raises:
        ValueError: if it is none, in words that follow "got".
    """

    text: str

    def __post_init__(self) -> None:
        names = self.places
        unknown = next((name for name in names if name not in _PLACES), None)
        if any(found[3] for found in _PART.finditer(self.text)):
            raise ValueError(f"{self.text[:60]!r}, with a brace that is not closed")
        if unknown is not None:
            raise ValueError(f"the place {{{unknown[:30]}}}")
        if re.search(r"\}\s*\{", self.text):
            raise ValueError(f"{self.text[:60]!r}, two places with no text between them")
        if len(self._literal) < _SHORTEST_TEXT:
            raise ValueError(f"{self.text[:60]!r}, without {_SHORTEST_TEXT} characters of text in a row")
        if len(self.text) > _LONGEST or len(names) > _MOST_PLACES or names.count("text") > _MOST_TEXTS:
            raise ValueError(f"more than {_LONGEST} characters, {_MOST_PLACES} places or {_MOST_TEXTS} of {{text}}")
        twice = next((name for name in names if names.count(name) > 1 and name not in ("number", "text")), None)
        if twice is not None:
            raise ValueError(f"the place {{{twice}}} twice")

    @cached_property
    def places(self) -> tuple[str, ...]:
        """The names of its places, in order."""
        return tuple(found[1] for found in _PART.finditer(self.text) if found[1] is not None)

    @cached_property
    def _literal(self) -> str:
        """The longest text that every such line holds."""
        texts = [part for found in _PART.finditer(self.text) if found[2] for part in found[2].split()]
        return max(texts, key=len, default="")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return self._compiled(_PLACES)

    @cached_property
    def _spoilt(self) -> re.Pattern[str]:
        return self._compiled(_SPOILT_PLACES)

    def _compiled(self, places: Mapping[str, str]) -> re.Pattern[str]:
        parts = []
        for found in _PART.finditer(self.text):
            if found[2]:
                parts.append("[ \\t]+".join(re.escape(word) for word in re.split(" +", found[2])))
            elif found[1] in ("number", "text"):
                parts.append(places[found[1]])
            else:
                parts.append(f"(?P<{found[1]}>{places[found[1]]})")
        begins = r"(?<![A-Za-z0-9_])" if re.match(r"[A-Za-z0-9_]", self.text) else ""
        ends = _NOTHING_GLUED if self.text.endswith("}") and not self.text.endswith("{text}") else ""
        return re.compile(begins + "".join(parts) + ends)

    @cached_property
    def is_in_code(self) -> bool:
        """Whether lines of the script count too, which many logs begin with: its settings say how much is scored."""
        return TOKENS in self.places

    def may_be_in(self, text: str) -> bool:
        """Whether a text holds what every such line holds: far faster than `find` on each of its lines."""
        return self._literal in text

    def among(self, lines: Sequence[tuple[int, str, bool]], text: str) -> Iterator[tuple[int, str]]:
        """The lines of a log that may be of it: by their number and text, without whether they are of a script.

        Args:
            lines: see `found_lines`.
            text: see `found_lines`.
        """
        reads_code = self.is_in_code
        for number, line, is_code in _lines_with(self._literal, lines, text):
            if reads_code or not is_code:
                yield number, line

    def find(self, line: str, source: Source) -> Mapping[str, Printed] | None:
        """The numbers at the named places of a line; None for another line."""
        if not self.may_be_in(line) or (found := self._pattern.search(line)) is None:
            return None
        numbers = {name: _number(text, source, name) for name, text in found.groupdict().items()}
        return None if None in numbers.values() else {name: held for name, held in numbers.items() if held is not None}

    def is_whole(self, name: str) -> bool:
        """Whether a name is nothing but what it says: ``train_{number}.log`` of train_7.log, not of train_7_old.log."""
        return self._pattern.fullmatch(name) is not None

    def is_spoilt(self, line: str) -> bool:
        """Whether a line is one but for a NaN or an infinity in the place of a number."""
        return self.may_be_in(line) and self._spoilt.search(line) is not None and self._pattern.search(line) is None

    def __str__(self) -> str:
        return self.text


def _number(text: str, source: Source, name: str) -> Printed | None:
    if name != TOKENS:
        return parse_number(text, source, name)
    product = 1
    for factor in re.split(r"\*", text):
        product *= int(re.sub(r"[ ,_]", "", factor))
    return Printed(float(product), 0, source, name)


@dataclass(frozen=True)
class FoundLines:
    """The lines of a log that are of one template.

    Attributes:
        template: the template.
        count: how many there are.
        last: the numbers of the last.
        largest: the largest number at each place, of all of them.
        distinct: of the place ``{tokens}``, the numbers that occur.
        spoilt_at: the last of them that holds a NaN or an infinity, where it comes after ``last``.
    """

    template: LineTemplate
    count: int
    last: Mapping[str, Printed]
    largest: Mapping[str, Printed]
    distinct: tuple[int, ...] = ()
    spoilt_at: Source | None = None


def found_lines(
    templates: Sequence[LineTemplate], lines: Sequence[tuple[int, str, bool]], text: str, file: str
) -> Iterator[FoundLines]:
    """Of each template that a log has a line of, what they hold.

    Args:
        templates: what is looked for.
        lines: the log's lines in their order: number, text, whether it is of a script.
        text: all of it, which may hold marks that the lines are without.
        file: its name, for sources.
    """
    for template in (each for each in templates if each.may_be_in(text)):
        count, last, largest, distinct = 0, None, dict[str, Printed](), dict[int, None]()
        spoilt_at: Source | None = None
        for number, line in template.among(lines, text):
            source = Source(file, number)
            numbers = template.find(line, source)
            if numbers is None:
                spoilt_at = source if template.is_spoilt(line) else spoilt_at
                continue
            count, last, spoilt_at = count + 1, numbers, None
            for name, printed in numbers.items():
                if name not in largest or printed.value > largest[name].value:
                    largest[name] = printed
            if TOKENS in numbers and len(distinct) < _MOST_DISTINCT:
                distinct[int(numbers[TOKENS].value)] = None
        if last is not None:
            yield FoundLines(template, count, last, largest, tuple(distinct), spoilt_at)


def _lines_with(literal: str, lines: Sequence[tuple[int, str, bool]], text: str) -> Iterator[tuple[int, str, bool]]:
    """The lines that hold a text, found in the whole of the log: most templates are of few of its lines."""
    if "\x1b" in text:  # a colour in the midst of a word
        yield from (each for each in lines if literal in each[1])
        return
    place, after, number, index = text.find(literal), 0, 1, 0
    while place >= 0:
        number += text.count("\n", after, place)
        index = bisect_left(lines, number, lo=index, key=_NUMBER)
        while index < len(lines) and lines[index][0] == number:  # a progress bar has several
            if literal in lines[index][1]:
                yield lines[index]
            index += 1
        after = text.find("\n", place)
        place = text.find(literal, after) if after >= 0 else -1


_NUMBER = itemgetter(0)
