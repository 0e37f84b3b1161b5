"""What a README gives as the spread of a score over seeds: ``std: 0.0005``, ``1.1233 +- 0.0005``, a row of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.claim.printed import Printed, Source, parse_number
from bpb_harness.claim.record import Readme

_SMALL = r"0?\.0[0-9]{2,9}(?![0-9%])"
_DEVIATION = r"(?<![A-Za-z])(?:std(?:dev)?|stdev|std\.? ?dev(?:iation)?|standard deviation)(?![A-Za-z])"
_TOLD = re.compile(rf"{_DEVIATION}(?: \([a-z ]{{1,12}}\))?[*`\s:=(,~|]{{1,12}}(?P<value>{_SMALL})", re.IGNORECASE)
_ROW = re.compile(rf"\s{{0,3}}\|[\s*_]{{0,6}}(?:sample )?{_DEVIATION}[^|\n]{{0,12}}\|", re.IGNORECASE)
_AROUND = re.compile(rf"(?P<mean>[0-9]{{1,2}}\.[0-9]{{3,9}})[*`\s]{{0,4}}(?:\u00b1|\+/-|\+-)\s?(?P<value>{_SMALL})")
_NAMED = re.compile(_DEVIATION, re.IGNORECASE)  # | Mean +- Std | 1.1133 +- 0.0001 |
_NUMBER = re.compile(rf"(?<![\w.]){_SMALL}")
_NUM_SEEDS = re.compile(r"(?<![\w.])([2-9]|1[0-9]|20)[- ](?:seeds?|runs?)(?![a-z])", re.IGNORECASE)
# Lines that tell of weights, activations and losses give their spreads, and no score's.
_OF_ANOTHER = re.compile(
    r"init|embed|matri|activation|weight|tensor|noise|singular|perturb|loss|baseline", re.IGNORECASE
)
_OF_SCORES = re.compile(r"bpb|bits per byte", re.IGNORECASE)
_LARGEST_README, _LONGEST = 1 << 18, 1_000  # characters, of all of it and of a line
_NEAR = 0.03  # bits per byte; a mean that is further off is another score's


@dataclass(frozen=True)
class StatedSpread:
    """A spread that a README gives.

    Attributes:
        source: where.
        value: the number as it is printed; None where the line gives several.
        num_seeds: over how many seeds or runs, where the line says so.
        is_named: it is called a standard deviation; else it stands behind a sign alone, and may be an error.
    """

    source: Source
    value: Printed | None
    num_seeds: int | None
    is_named: bool


def spread_told(readme: Readme, score: Printed) -> StatedSpread | None:
    """The first spread that a README gives, on a line with a score first; None where it gives none.

    Args:
        readme: the README.
        score: what is claimed.
    """
    found = [*_spreads(readme, score)]
    return next((each for each, is_beside in found if is_beside), found[0][0] if found else None)


def _spreads(readme: Readme, score: Printed) -> Iterator[tuple[StatedSpread, bool]]:
    for number, whole in enumerate(readme.text[:_LARGEST_README].split("\n"), 1):
        line = whole[:_LONGEST]
        if _OF_ANOTHER.search(line) and not _OF_SCORES.search(line):
            continue
        texts = _NUMBER.findall(line) if _ROW.match(line) else [each["value"] for each in _TOLD.finditer(line)]
        is_named = bool(texts) or _NAMED.search(line) is not None
        texts += [each["value"] for each in _AROUND.finditer(line) if abs(float(each["mean"]) - score.value) <= _NEAR]
        source = Source(readme.file, number)
        values = [parse_number(text, source, "std") for text in dict.fromkeys(texts)]
        if values:
            seeds = _NUM_SEEDS.search(line)
            is_beside = any(score.agrees_with(value, half) for value, half in _numbers_of(line))
            only = values[0] if len(values) == 1 else None
            yield StatedSpread(source, only, int(seeds[1]) if seeds else None, is_named), is_beside


def _numbers_of(line: str) -> Iterator[tuple[float, float]]:
    for found in re.finditer(r"(?<![\w.])[0-9]{1,2}\.([0-9]{3,12})(?![\w%])", line):
        yield float(found[0]), 0.5 * 10.0 ** -len(found[1])
