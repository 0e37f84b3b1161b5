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
_ERROR = (
    r"(?<![A-Za-z])(?:(?:standard|std\.?|stdev)[ _-]?err(?:or)?s?|SEM|s\.e\.m?\.?|SE(?= of)"
    rf"|{_DEVIATION} \(?of (?:the |its |their )?means?\)?)(?![A-Za-z])"
)
_ERROR_TOLD = re.compile(
    rf"{_ERROR}(?: of (?:the |its |their )?means?)?(?: \([^()\n]{{1,20}}\))?[*`\s:=(,~|]{{1,12}}(?P<value>{_SMALL})",
    re.IGNORECASE,
)
_OF_ERRORS = re.compile(rf"{_ERROR}|\(SE\)", re.IGNORECASE)
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
# The same of a clause before a spread, beside a score in another; and lines that tell of somebody else's score.
_CLAUSE = re.compile(r"[;!?]\s|\.\s")
_OF_ANOTHER_CLAUSE = re.compile(rf"{_OF_ANOTHER.pattern}|(?<![a-z])(?:lr|rates?|times?|speed|grad\w*)(?![a-z])", re.I)
_OF_RUNS = re.compile(rf"{_OF_SCORES.pattern}|mean|average|seed|score", re.IGNORECASE)
_OF_OTHERS = re.compile(
    r"(?<![a-z])(?:upstream|baselines?|prior|previous|earlier|sota|official|another|others?|reference|published)(?![a-z])"
    r"|(?<![a-z])pr #?[0-9]",
    re.IGNORECASE,
)
_INTERVAL = re.compile(r"(?<![a-z])(?:ci|interval|confidence|bootstrap|range)(?![a-z])", re.IGNORECASE)
_LARGEST_README, _LONGEST = 1 << 18, 1_000  # characters, of all of it and of a line
_NEAR = 0.03  # bits per byte; a mean that is further off is another score's
# Of n runs none is further from their mean than (n - 1) / sqrt(n) deviations, or n - 1 errors of it: these, of 20.
_DEVIATIONS, _ERRORS = 4.25, 19.0
_LEAST = 0.1  # bits per byte; a spread is no score
_SCORES = re.compile(r"(?<![\w.])[0-9]{1,2}\.(?P<digits>[0-9]{3,12})(?![\w%])")


@dataclass(frozen=True)
class StatedSpread:
    """A spread that a README gives.

    Attributes:
        source: where.
        value: the number as it is printed; None where the line gives several.
        num_seeds: over how many seeds or runs, where the line says so.
        is_named: it is called a standard deviation; else it stands behind a sign alone, and may be an error.
        is_error: it is called a standard error, or a deviation of the mean, which is the same.
    """

    source: Source
    value: Printed | None
    num_seeds: int | None
    is_named: bool
    is_error: bool = False


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
        is_beside = any(score.agrees_with(value, half) for value, half in _numbers_of(line))
        if not is_beside and _OF_OTHERS.search(line):
            continue
        texts, is_named, is_error = _values_of(line, score)
        source = Source(readme.file, number)
        values = [parse_number(text, source, "std") for text in dict.fromkeys(texts)]
        if values:
            seeds = _NUM_SEEDS.search(line)
            only = values[0] if len(values) == 1 else None
            yield StatedSpread(source, only, int(seeds[1]) if seeds else None, is_named, is_error), is_beside


def _values_of(line: str, score: Printed) -> tuple[list[str], bool, bool]:
    """The spreads of a line, as they are printed; whether they are called deviations, and whether errors."""
    errors = [each["value"] for each in _ERROR_TOLD.finditer(line) if not _is_of_far_runs(line, each, score, _ERRORS)]
    if errors:
        return errors, False, True
    is_error = _OF_ERRORS.search(line) is not None
    is_row = _ROW.match(line) is not None
    told = [
        each["value"]
        for each in _TOLD.finditer(line)
        if not _is_of_another(line[: each.start()]) and not _is_of_far_runs(line, each, score, _DEVIATIONS)
    ]
    texts = _NUMBER.findall(line) if is_row else told
    is_named = bool(texts) or _NAMED.search(line) is not None
    near = [
        each
        for each in _AROUND.finditer(line)
        if abs(float(each["mean"]) - score.value) <= _NEAR and not _is_of_far_runs(line, each, score, _ERRORS)
    ]
    if is_named or is_error or not _INTERVAL.search(line):
        texts = [*texts, *(each["value"] for each in near)]
    is_error &= is_row or not told
    return texts, is_named and not is_error, is_error


def _is_of_another(before: str) -> bool:
    """Whether the clause before a spread tells of something else than a score."""
    clause = _CLAUSE.split(before)[-1]
    return _OF_ANOTHER_CLAUSE.search(clause) is not None and not _OF_RUNS.search(clause)


def _is_of_far_runs(line: str, spread: re.Match[str], score: Printed, furthest: float) -> bool:
    """Whether a spread stands behind means, in its clause and cell, and the claimed score is too far off to be in any.

    Not on a line that gives the claimed score: which of the scores is meant there, nothing says.
    """
    if any(score.agrees_with(value, half) for value, half in _numbers_of(line)):
        return False
    before = _CLAUSE.split(line[: spread.start("value")].rpartition("|")[2])[-1]
    value = float(spread["value"]) + _half_unit(spread["value"].partition(".")[2])
    means = [(mean, half) for mean, half in _numbers_of(before) if mean >= _LEAST]
    return bool(means) and all(
        abs(mean - score.value) > furthest * value + half + score.half_unit for mean, half in means
    )


def _numbers_of(line: str) -> Iterator[tuple[float, float]]:
    for found in _SCORES.finditer(line):
        yield float(found[0]), _half_unit(found["digits"])


def _half_unit(digits: str) -> float:
    return 0.5 * 10.0 ** -len(digits)
