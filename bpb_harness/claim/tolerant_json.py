"""JSON as people publish it: read all the same where only one reading is possible, and say what was wrong.

Repairs, each reported: a byte-order mark; text after the object (a stray code fence); text before it;
comments; trailing commas; single typographic slips of Python (True, None, NaN). What stays broken is an error. NaN and
Infinity are kept as floats, for a report to say what stands there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bpb_harness.claim.printed import PrintedFloat
from bpb_harness.errors import ClaimError

_LARGEST_JSON = 4 << 20
_DEEPEST_NESTING = 64
_MAX_DUPLICATES = 20  # more say nothing new
_LONGEST_SHOWN = 40  # characters of a value in a message

# A string, closed or running to the end of the text. Possessive, and it always matches once a quote
# has opened, so that no hostile file makes a scan quadratic.
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'


@dataclass(frozen=True)
class DuplicateKey:
    """A key that one object holds more than once, with different values.

    Attributes:
        key: the key.
        values: its different values in the file's order, as they are written there; shortened where they are long.
        taken: the last of them, which every JSON reader takes.
    """

    key: str
    values: tuple[str, ...]
    taken: str


@dataclass(frozen=True)
class TolerantJson:
    """A parsed value and what had to be mended.

    Attributes:
        value: the parsed value; its floats are `PrintedFloat`.
        repairs: what was mended, in words; empty for valid JSON.
        duplicate_keys: keys that one object holds twice or more with different values.
    """

    value: Any
    repairs: tuple[str, ...]
    duplicate_keys: tuple[DuplicateKey, ...]


def parse_json(text: str, file: str) -> TolerantJson:
    """Parse JSON, mending what has one possible meaning.

    Args:
        text: the file's text, decoded.
        file: its name, for messages.

    Raises:
        ClaimError: if the text is too large, nested too deeply, or not JSON even after the repairs.
    """
    if len(text) > _LARGEST_JSON:
        raise ClaimError(f"{file} is too large for a submission record", seen=f"{len(text):,} characters")
    duplicates: list[DuplicateKey] = []
    repairs: list[str] = []
    error: Exception | None = None
    for mend in (None, *_MENDINGS):
        if mend is not None:
            mended, what = mend(text)
            if mended == text:
                continue
            text = mended
            repairs.append(what)
        duplicates.clear()
        try:
            value, holds_constants = _strict(text, duplicates)
        except (ValueError, RecursionError) as problem:
            error = problem
            continue
        if holds_constants and _LITERALS not in repairs:
            repairs.append(_LITERALS)
        return TolerantJson(value, tuple(repairs), tuple(duplicates[:_MAX_DUPLICATES]))
    raise ClaimError(f"{file} is not JSON", seen=str(error)[:120], hint="repair the file and audit it again")


def _strict(text: str, duplicates: list[DuplicateKey]) -> tuple[Any, bool]:
    """The value, and whether it holds NaN or Infinity, which are not JSON."""
    constants: list[str] = []

    def constant(name: str) -> PrintedFloat:
        constants.append(name)
        return PrintedFloat(name)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            duplicates.extend(_differing(items))
        return made

    _refuse_deep_nesting(text)
    value = json.loads(
        text,
        parse_float=PrintedFloat,
        parse_int=_bounded_int,
        parse_constant=constant,
        object_pairs_hook=pairs,
    )
    return value, bool(constants)


def _differing(items: list[tuple[str, Any]]) -> Iterator[DuplicateKey]:
    by_key: dict[str, list[Any]] = {}
    for key, value in items:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        if any(_differ(value, values[0]) for value in values):
            shown = [_as_written(value) for value in values]
            yield DuplicateKey(key, tuple(dict.fromkeys(shown)), shown[-1])


def _differ(one: Any, other: Any) -> bool:
    are_nan = one != one and other != other  # noqa: PLR0124 - NaN alone is not itself
    return (one != other and not are_nan) or isinstance(one, bool) != isinstance(other, bool)


def _as_written(value: Any) -> str:
    if isinstance(value, PrintedFloat):
        return value.text[:_LONGEST_SHOWN]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value)[:_LONGEST_SHOWN]


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else PrintedFloat.beyond_all(digits)


def _refuse_deep_nesting(text: str) -> None:
    # json recurses in C on Python 3.11 and a hostile file can exhaust that stack: count before parsing.
    depth, deepest = 0, 0
    for found in re.finditer(f"{_STRING}|[][{{}}]", text, re.DOTALL):
        bracket = text[found.start()]
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    if deepest > _DEEPEST_NESTING:
        raise ValueError(f"nested {deepest} deep, more than {_DEEPEST_NESTING}")


def _drop_mark(text: str) -> tuple[str, str]:
    return text.removeprefix("\ufeff"), "a byte-order mark at the start"


def _drop_tail(text: str) -> tuple[str, str]:
    """Cut what follows the first complete object, if it holds no second one: a stray fence has no meaning."""
    body = text.lstrip()
    if not body.startswith("{"):
        return text, ""
    try:
        _refuse_deep_nesting(body)
        _, end = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):
        return text, ""
    tail = body[end:].strip()
    if not tail or re.search(r'[{\[:]|"', tail):
        return text, ""
    return body[:end], f"text after the object: {tail[:20]!r}"


def _unfence(text: str) -> tuple[str, str]:
    fenced = re.fullmatch(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL)
    return (fenced[1], "a code fence around the object") if fenced else (text, "")


def _outside_strings(pattern: str, replacement: str, text: str) -> str:
    both = re.compile(f"({_STRING})|{pattern}", re.DOTALL)
    return both.sub(lambda found: found[1] if found[1] is not None else replacement, text)


def _drop_comments(text: str) -> tuple[str, str]:
    return _outside_strings(r"//[^\n]*|/\*.{0,500}?\*/", " ", text), "comments"


def _drop_trailing_commas(text: str) -> tuple[str, str]:
    mended = re.sub(f"({_STRING})|,(?=\\s*[]}}])", lambda m: m[1] or "", text, flags=re.DOTALL)
    return mended, "a trailing comma"


def _python_literals(text: str) -> tuple[str, str]:
    for name, literal in (("True", "true"), ("False", "false"), ("None", "null")):
        text = _outside_strings(rf"\b{name}\b", literal, text)
    return text, _LITERALS


_LITERALS = "Python literals (None, True, NaN)"
# In this order, each on top of the ones before; a later one is tried only while the text does not parse.
_MENDINGS = (_drop_mark, _drop_tail, _unfence, _drop_comments, _drop_trailing_commas, _python_literals, _drop_tail)
