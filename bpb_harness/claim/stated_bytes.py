"""Bytes per token that a record states of its scored text: as such, or as bytes and tokens side by side.

Names that could be of another thing (the artifact's bytes, the tokens of a batch, of the training text) are not read:
to miss a statement costs less than to doubt an honest record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bpb_harness.claim.printed import (
    NUMBER,
    Printed,
    Source,
    count_from_json,
    from_json,
    parse_leading_number,
    parse_number,
)

_OF_SCORED = ("val_", "eval_", "scored_")
_NAME = r"(?<![\w.-])[\"']?(?:val_|eval_|scored_)?bytes(?:_per_|/)token[\"']?(?:\s?[:=]\s?|\s{1,4})"
_STATED = re.compile(rf"{_NAME}({NUMBER})(?![\w%])")
_COUNT = re.compile(
    r"(?<![\w.-])[\"']?(?:(?P<of>val_|eval_|scored_|num_|)(?P<what>tokens|bytes)[\"']?\s?[:=]\s?"
    r"|(?P<whose>val|eval|scored)[_ ](?P<which>tokens|bytes)[:=]?\s{1,4})"
    r"(?P<count>[0-9]{1,15}(?:,[0-9]{3}){0,4})(?![\w.])"
)
_NEXT_TO = re.compile(r"[\s,;|]{1,3}")
# Text under any usual tokenizer; what lies outside are two counts of different things.
_MIN_BYTES, _MAX_BYTES = 1.0, 16.0
_MIN_TOKENS = 1000


def stated_in_line(line: str, source: Source, *, is_step: bool) -> tuple[Printed | None, int | None]:
    """What a line that carries a score states: bytes per token, and the tokens where it is made of bytes and tokens.

    Args:
        line: the line.
        source: where it stands.
        is_step: it is a training step's: bare ``tokens`` and ``bytes`` are then what was learnt from.
    """
    if "bytes" not in line:
        return None, None
    if found := _STATED.search(line):
        return _positive(parse_number(found[1], source, "bytes_per_token")), None
    counts = {
        (f"{count['whose']}_" if count["whose"] else count["of"], count["what"] or count["which"]): count
        for count in _COUNT.finditer(line)
    }
    for of in (*_OF_SCORED, "num_", ""):
        tokens, num_bytes = counts.get((of, "tokens")), counts.get((of, "bytes"))
        if tokens is None or num_bytes is None:
            continue
        is_of_scored = of in _OF_SCORED or (not is_step and _is_pair(line, tokens, num_bytes))
        num_tokens = int(tokens["count"].replace(",", ""))
        ratio = _ratio(int(num_bytes["count"].replace(",", "")), num_tokens)
        if is_of_scored and ratio is not None:
            where = Source(source.file, source.line, f"{of}bytes / {of}tokens")
            return Printed(ratio, None, where, "bytes per token"), num_tokens
    return None, None


def stated_alone(line: str, source: Source) -> Printed | None:
    """What a line states that says nothing else; None for any other line.

    Made of bytes and tokens it has their names for its source's key: of what they are, only the lines beside it tell.
    """
    if found := _STATED.fullmatch(line.strip()):
        return _positive(parse_number(found[1], source, "bytes_per_token"))
    says_more = _COUNT.sub("", line).strip(" \t,;|{}") != ""
    return None if says_more else stated_in_line(line, source, is_step=False)[0]


def stated_in_json(beside: Mapping[str, Any], file: str) -> Printed | None:
    """What the object that holds a score states."""
    for key in ("bytes_per_token", *(f"{of}bytes_per_token" for of in _OF_SCORED)):
        if (stated := _positive(from_json(beside.get(key), Source(file, key=key), key))) is not None:
            return stated
    pair = _pair_in(beside)
    if pair is None:
        return None
    of, num_bytes, num_tokens = pair
    return Printed(num_bytes / num_tokens, None, Source(file, key=f"{of}bytes / {of}tokens"), "bytes per token")


def tokens_beside_bytes(beside: Mapping[str, Any]) -> int | None:
    """Tokens scored, where the object that holds a score gives them beside their bytes."""
    pair = _pair_in(beside)
    return None if pair is None else pair[2]


def _pair_in(beside: Mapping[str, Any]) -> tuple[str, int, int] | None:
    for of in (*_OF_SCORED, "num_"):
        num_bytes = count_from_json(beside.get(f"{of}bytes"))
        num_tokens = count_from_json(beside.get(f"{of}tokens"))
        if num_bytes is not None and num_tokens is not None and _ratio(num_bytes, num_tokens) is not None:
            return of, num_bytes, num_tokens
    return None


_COLUMN = re.compile(
    r"(?P<of>val(?:idation)?|eval(?:uation)?|scored)[ _](?P<what>bytes|tokens)"
    r"|(?:tokens|bytes) (?:scored|evaluated)",
    re.IGNORECASE,
)
_RATIO_COLUMN = re.compile(
    r"(?:(?:val|eval|scored|avg\.?|average|mean)[ _])?bytes?(?: ?/ ?|[ _-]per[ _-])token", re.IGNORECASE
)


def stated_in_cells(cells: Mapping[str, str], source: Source) -> Printed | None:
    """What the cells of a table state, by the names of their columns, or of their rows.

    Args:
        cells: text by name; names of bytes and tokens count where they are of the scored text.
        source: where they stand.
    """
    counts: dict[str, int] = {}
    for name, cell in cells.items():
        bare = name.strip(" *`_")
        if _RATIO_COLUMN.fullmatch(bare):
            return _positive(parse_leading_number(cell, Source(source.file, source.line, bare), bare))
        if _COLUMN.fullmatch(bare) and (count := count_from_json(cell.strip(" *`"))) is not None:
            counts["bytes" if "bytes" in bare.lower() else "tokens"] = count
    ratio = _ratio(counts["bytes"], counts["tokens"]) if len(counts) == 2 else None
    where = Source(source.file, source.line, "bytes / tokens")
    return None if ratio is None else Printed(ratio, None, where, "bytes per token")


_GIVEN = re.compile(
    r"(?<![\w-])(?P<name>--?bytes[-_]per[-_]token[= ]\s?|BYTES_PER_TOKEN=)"
    r"(?P<number>[0-9]{1,2}(?:\.[0-9]{1,8})?)(?![\w.])"
)


def given_bytes(text: str, file: str) -> Iterator[Printed]:
    """Bytes per token that a README's commands give, by flag or environment; the flag as it is written for a name."""
    for number, line in enumerate(text.split("\n"), 1):
        found = _GIVEN.search(line[:_LONGEST_LINE]) if "per" in line or "PER" in line else None
        if found is not None and (given := parse_number(found["number"], Source(file, number), found[0].strip())):
            yield given


_LONGEST_LINE = 2000


def _is_pair(line: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether bytes and tokens of no further name stand side by side, with no word before them that gives them one."""
    first, second = sorted((one, other), key=re.Match.start)
    before = line[: first.start()].rstrip()[-1:]
    return _NEXT_TO.fullmatch(line[first.end() : second.start()]) is not None and not before.isalpha()


def _ratio(num_bytes: int, num_tokens: int) -> float | None:
    ratio = num_bytes / num_tokens if num_tokens >= _MIN_TOKENS else 0.0
    return ratio if _MIN_BYTES <= ratio <= _MAX_BYTES else None


def _positive(number: Printed | None) -> Printed | None:
    return number if number is not None and number.value > 0.0 else None
