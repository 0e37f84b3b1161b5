"""Score lines of other shapes than ``name: value``, written again in that one, with the digits that they print.

Understood, among others::

    final val_loss 2.0712 val_bpb 1.226681
    iter 5000: train loss 2.1, val loss 2.0712, val bpb 1.226681
    val_bpb ........ 1.226681        | val_bpb | 1.226681 |        val_bpb -> 1.226681
    final score: 1.226681 bits per byte
    {"step": 100, "val": {"loss": 2.0712, "bpb": 1.226681}}
    step  train_loss  val_loss  val_bpb
    1000  2.1134      2.0712    1.226681

What is not one of these whole is left as it is: words between names and numbers make a sentence, and a sentence may be
of another's score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bpb_harness.claim.names import is_of_training, is_score_name
from bpb_harness.claim.printed import NUMBER, Source, parse_number, with_points

_SPELT = re.compile(r"\bbits?(?: ?/ ?|-per-|-?/-?| (?:pro|por|par) )(?:byte|octet)\b", re.IGNORECASE)
_WIDE_SIGNS = str.maketrans({"\uff1a": ":", "\uff1d": "=", "\uff0c": ",", "\u3000": " "})
_CALLED_VALUE = re.compile(r"\b((?:[A-Za-z0-9_]{0,40}_)?(?:loss|bpb)) value(?=\s?[:=])", re.IGNORECASE)
_METRIC = re.compile(r"[A-Za-z0-9_./-]{0,60}(?:loss|bpb|bits_per_byte|nats_per_token)", re.IGNORECASE)
_COLUMNS = re.compile(r"([|;\t]|,(?![0-9]))")
# A column of nothing but names and numbers: then those of the others, behind a logger's name, are told alike.
_NAME_AND_NUMBER = rf"[A-Za-z_][A-Za-z0-9_]{{0,60}}+ {{1,20}}+{NUMBER}(?![0-9A-Za-z_%.,])"
_PAIRS = re.compile(rf"\s*+(?:[0-9]+/[0-9]+ ++)?{_NAME_AND_NUMBER}(?: {{1,20}}+{_NAME_AND_NUMBER})*+\s*+")
_PAIR = re.compile(
    rf"((?<![A-Za-z0-9_])[A-Za-z0-9_]{{0,60}}?(?:loss|bpb|BPB|Bpb)) {{1,20}}(?={NUMBER}(?![0-9A-Za-z_%]|[.,][0-9]))"
)
_NUMBER = re.compile(NUMBER)
_WITH_UNIT = re.compile(
    rf"[(\[~]?{NUMBER}(?:/[0-9]{{1,12}})?(?:ms|s|sec|m|min|h|%|x|k|K|M|G|B|MB|GB|MiB|GiB|tok/s|it/s)?[)\]]?[:.]?"
)
_WORD = re.compile(r"[(\[]?[A-Za-z_][A-Za-z0-9_()\[\]/.@+-]{0,60}:?")
_MOST_LEADING, _MOST_BETWEEN, _MOST_TRAILING, _MOST_TOKENS = 6, 3, 3, 80
# A number that these lead to is another's, an earlier one, or hoped for.
_OF_ANOTHER = frozenset(
    re.findall(
        "[a-z]+",
        "baseline target sota record previous prev old expected reference leaderboard published official naive beat "
        "beats beating than vs from below above under a an and we our their its was were seen if would could should "
        "need needs want goal delta gap diff difference gain gains improved improvement improves std stderr threshold "
        "not no paper",
    )
)
_OF_RESULT = re.compile(r"\b(?:final|val|valid|validation|eval|evaluation|test|score|result|total)\b", re.IGNORECASE)
_VALUE_FIRST = re.compile(
    rf"(?P<words>[A-Za-z_][A-Za-z_ /()-]{{0,60}})[:=\s]\s{{0,8}}(?P<number>{NUMBER})\s?"
    r"(?:bpb|bits[_ ]per[_ ]byte)\b(?:[\s,;.(].{0,200})?",
    re.IGNORECASE,
)
_BETWEEN = r"(?:\s{0,20}(?:\.{2,60}|-{1,2}>|=>|[\u2192\u2248~|\u2502\u2503\u2551]|\bis\b)\s{0,40}|\s{1,60})"
_FRAME = "|\u2502\u2503\u2551\u250c\u2514\u251c\u2570*> \t"
_ALONE = re.compile(rf"(?P<name>[A-Za-z_][A-Za-z0-9_ ./()-]{{0,60}}?){_BETWEEN}(?P<number>{NUMBER})")


def with_colons(line: str) -> str:
    """A line that speaks of bits per byte, with ``val_bpb: 1.2`` for what it gives in another shape."""
    line = line if line.isascii() else line.translate(_WIDE_SIGNS)
    line = _CALLED_VALUE.sub(r"\1", _SPELT.sub("bits_per_byte", line))
    if any("bpb" in column.lower() and _PAIRS.fullmatch(column) for column in _COLUMNS.split(line)[::2]):
        return _PAIR.sub(r"\1: ", line)
    return _of_object(line) or _of_columns(line) or _of_one_value(line) or line


def _of_object(line: str) -> str | None:
    """A line that ends in a JSON object of objects: its strings, then each number behind the names that lead to it."""
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}") or line.count("{") < 2:
        return None
    try:
        value = json.loads(line[start:], parse_float=_Digits, parse_int=_Digits)
    except (ValueError, RecursionError):
        return None
    held = list(_held(value, ""))
    words = [str(each) for _, each in held if isinstance(each, str) and not isinstance(each, _Digits)]
    shown = [re.sub(r"[^A-Za-z0-9_-]+", "_", each)[:40] for each in words[:4]]
    pairs = [f"{name}: {each}" for name, each in held if isinstance(each, _Digits)]
    steps = [pair for pair in pairs if _METRIC.fullmatch(pair.partition(":")[0]) is None]
    return " ".join([line[:start].strip(), *shown, *steps, *(pair for pair in pairs if pair not in steps)]).strip()


class _Digits(str):
    """A number of a JSON text, as it stands there."""

    __slots__ = ()


def _held(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    for key, each in value.items() if isinstance(value, Mapping) else ():
        name = f"{above}{re.sub(r'[^A-Za-z0-9_/.-]+', '_', str(key))[:60]}"
        if isinstance(each, Mapping):
            yield from _held(each, f"{name}.")
        else:
            yield name, each


def _of_columns(line: str) -> str | None:
    """The columns of a line that hold nothing but words, names and numbers; None where none holds a score."""
    parts = _COLUMNS.split(line)
    if "\t" in line and len(parts) == 3 and _NUMBER.fullmatch(parts[2].strip()):
        parts = [f"{parts[0]} {parts[2]}"]  # a name, a tab, a number
    written = [_of_words(part) if place % 2 == 0 else None for place, part in enumerate(parts)]
    if not any(each is not None and "bpb" in each.lower().replace("bits_per_byte", "bpb") for each in written):
        return None
    return "".join(part if each is None else each for part, each in zip(parts, written, strict=True))


def _of_words(text: str) -> str | None:
    """``leading words name number name number ..`` with colons behind names of losses and scores."""
    words = text.rstrip("*<- ").split()  # marks of the best
    if not 2 <= len(words) <= _MOST_TOKENS:
        return None
    written, group = list[str](), list[str]()
    most, found = _MOST_LEADING, False
    for word in words:
        if _WITH_UNIT.fullmatch(word):
            if group and _is_metric(group) and _NUMBER.fullmatch(word):
                written[-1] += ":"
                found = True
            group, most = [], _MOST_BETWEEN
        elif (_WORD.fullmatch(word) or word == "*") and len(group) < most:
            group.append(word)
        else:
            return None
        written.append(word)
    is_own = _OF_ANOTHER.isdisjoint({*_words_of(group)} - {"record", "sota"})  # it is praised with these
    return " ".join(written) if found and is_own and len(group) <= _MOST_TRAILING else None


def _is_metric(group: Sequence[str]) -> bool:
    if _METRIC.fullmatch(group[-1]) is None:
        return False
    return _OF_ANOTHER.isdisjoint(_words_of(group))


def _words_of(group: Sequence[str]) -> list[str]:
    return re.split(r"[^a-z]+", " ".join(group).lower())


def _of_one_value(line: str) -> str | None:
    """A line of one name and one number, whatever stands between them; or of a number and its unit behind words."""
    bare = line.strip(_FRAME)
    found = _ALONE.fullmatch(bare)
    if found is not None and _is_metric(found["name"].split() or [""]):
        return f"{found['name'].strip()}: {found['number']}"
    found = _VALUE_FIRST.fullmatch(bare)
    if found is None or "bpb" in found["words"].lower() or not _OF_RESULT.search(found["words"]):
        return None
    if not _OF_ANOTHER.isdisjoint(_words_of([bare])):
        return None
    return f"{found['words'].strip()} bpb: {found['number']}"


_RULE = re.compile(r"[-=+|:_\s\u2500-\u257f]{2,}")
_BLANKS, _WIDE = re.compile(r"\s+"), re.compile(r"\s{2,}|\t")
_COUNTED = re.compile(r"(?:global_?)?(?:step|iter|iteration|epoch)s?", re.IGNORECASE)
# A row for each part of the text: running values, or the scores of parts.
_OF_PARTS = re.compile(
    r"(?:num_|n_)?(?:micro)?(?:batch|chunk|window|doc(?:ument)?|seq(?:uence)?|sample|segment|shard|block|span|example|"
    r"piece|slice|part|article|token|file|offset|position|pos|progress|domain|source|lang(?:uage)?)(?:e?s)?(?:_?(?:id|idx|index|done))?",
    re.IGNORECASE,
)
_VALUES = re.compile(r"[0-9]\.[0-9]|[=:]\s?[0-9]")
_MOST_COLUMNS = 40


@dataclass(frozen=True)
class Columns:
    """The header of a table within a log.

    Attributes:
        names: of its columns.
        separator: what stands between cells.
    """

    names: tuple[str, ...]
    separator: re.Pattern[str]

    @classmethod
    def of(cls, line: str) -> Self | None:
        """What a line is the header of; None where it is none of a table with a column of scores."""
        if _VALUES.search(line):
            return None
        for separator in _SEPARATORS:
            names = tuple(_cells(line, separator))
            if not 2 <= len(names) <= _MOST_COLUMNS or len({*names}) < len(names):
                continue
            scores = [name for name in names if is_score_name(_SPELT.sub("bits_per_byte", name))]
            if scores and all(map(_is_name, names)) and not any(map(_OF_PARTS.fullmatch, names)):
                return cls(names, separator)
        return None

    def row(self, line: str) -> str | None:
        """A row as a log would print it, ``step:100 val_loss:2.07 val_bpb:1.22``; "" for a rule, None for neither."""
        if _RULE.fullmatch(line):
            return ""
        cells = [with_points(cell) for cell in _cells(line, self.separator)]
        if len(cells) != len(self.names) or not any(_NUMBER.fullmatch(cell) for cell in cells):
            return None
        return " ".join(words_of_row(self.names, cells))


_SEPARATORS = (re.compile(r"[|\u2502\u2503]"), re.compile(r"\t"), re.compile(r","), re.compile(r";"), _WIDE, _BLANKS)


def _cells(line: str, separator: re.Pattern[str]) -> list[str]:
    bare = line.strip("|\u2502\u2503 \t") if separator is not _SEPARATORS[1] else line
    return [cell.strip(" *`\"'") for cell in separator.split(bare)][: _MOST_COLUMNS + 1]


def _is_name(cell: str) -> bool:
    return re.fullmatch(r"#|[A-Za-z_][A-Za-z0-9_ ./()%-]{0,40}", cell) is not None and cell.count(" ") <= 3


def words_of_row(header: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    """What a log would print of a row: its settings, then names of losses and scores with their numbers."""
    named = list(zip(header, row, strict=False))
    for name, cell in named:
        if _COUNTED.fullmatch(name) and cell.isdigit():
            yield f"step:{cell}"
        elif name and parse_number(cell, Source("")) is None:
            yield re.sub(r"[^A-Za-z0-9_.-]+", "_", cell)[:40]
    for name, cell in named:
        spelt = _SPELT.sub("bits_per_byte", name)
        if is_of_training(spelt) or parse_number(cell, Source("")) is None:
            continue
        if "loss" in spelt.lower() or is_score_name(spelt):
            yield f"{re.sub(r'[^A-Za-z0-9_]+', '_', spelt)}:{cell}"


_ENTRY = re.compile(
    rf"[\s\"'*{{-]{{0,20}}(?P<name>[A-Za-z_][A-Za-z0-9_./]{{0,60}}(?: [A-Za-z_]{{1,20}})?)[\"']?"
    rf"(?:\s{{0,20}}[:=]\s{{0,40}}|{_BETWEEN})(?P<number>{NUMBER})[\s\"',}}*|\u2502\u2503]{{0,20}}"
)


def entry_of(line: str) -> tuple[str, str] | None:
    """The name and the number of a line that holds nothing else; None for any other line."""
    found = _ENTRY.fullmatch(line.strip(_FRAME)) if len(line) < _LONGEST_ENTRY else None
    return None if found is None else (found["name"].strip(), found["number"])


_LONGEST_ENTRY = 160
