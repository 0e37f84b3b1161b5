"""Lines of training between which a clock of milliseconds passes exactly as much time, too often for a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import final

from bpb_harness.claim.printed import Source

# Of 4,108 public logs 4 have five such intervals or more: two are as steady as that others are off by one, one has 5.
_FEWEST, _FEWEST_OTHERS = 6, 10
_FEWEST_STEPS = 10  # between two lines: of a few steps the interval is so short that many are alike
_CHANCE = 1e-6
_NEAREST = 8  # intervals on either side of a row
_OF_NORMAL = 1.4826  # standard deviations by the median of distances from the median
_MOST_LINES = 20_000


@dataclass(frozen=True)
class EvenSteps:
    """Intervals in a row that are alike to the millisecond, where the others of the run differ.

    Attributes:
        count: how many intervals.
        milliseconds: each of them.
        steps: of training in each.
        first: where the first begins.
        last: where the last ends.
        deviation: of the others, or of those next to these where that is less, the median of the distances from the
            median, in milliseconds.
        run: which run of the log.
    """

    count: int
    milliseconds: int
    steps: int
    first: Source
    last: Source
    deviation: float
    run: int


@dataclass(frozen=True)
class _Interval:
    steps: int
    milliseconds: int
    first: int
    last: int
    run: int


@final
class StepTimes:
    """Collects what lines of training tell of step and time."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._told: list[tuple[int, int, int, int]] = []  # run, step, milliseconds, line

    def take(self, step: int, milliseconds: str, number: int, run: int) -> None:
        """Take one more line; of a clock that tells parts of a millisecond none."""
        if milliseconds.isdecimal() and len(self._told) < _MOST_LINES:
            self._told.append((run, step, int(milliseconds), number))

    def even(self) -> list[EvenSteps]:
        """The longest row of each run, where chance does not explain it."""
        found = []
        for run, told in groupby(self._told, key=lambda each: each[0]):
            row = _longest(intervals := [*_intervals([*told], run)])
            others = [each for each in intervals if row and each.steps == row[0].steps and each not in row]
            deviation = _deviation_of(row, others)
            if deviation is not None:
                first, last = Source(self._file, row[0].first), Source(self._file, row[-1].last)
                found.append(EvenSteps(len(row), row[0].milliseconds, row[0].steps, first, last, deviation, run))
        return found


def _intervals(told: Sequence[tuple[int, int, int, int]], run: int) -> Iterator[_Interval]:
    for (_, step, at, line), (_, later, then, behind) in pairwise(told):
        if later - step >= _FEWEST_STEPS and then > at:
            yield _Interval(later - step, then - at, line, behind, run)


def _longest(intervals: Sequence[_Interval]) -> list[_Interval]:
    rows = (list(row) for _, row in groupby(intervals, key=lambda each: (each.steps, each.milliseconds)))
    return max(rows, key=len, default=[])


def _deviation_of(row: Sequence[_Interval], others: Sequence[_Interval]) -> float | None:
    """How far the other intervals differ; None where a steady clock, or a coarse one, would give such a row.

    A run may have slow times elsewhere: what scatters less counts, all of its intervals or those next to the row.
    """
    if len(row) < _FEWEST or len(others) < _FEWEST_OTHERS:
        return None
    each, times = row[0].milliseconds, [other.milliseconds for other in others]
    if any(abs(other - each) == 1 for other in times):
        return None  # of a run as steady as that some are off by one
    unit = math.gcd(each, *times)
    before = [other.milliseconds for other in others if other.first < row[0].first][-_NEAREST:]
    behind = [other.milliseconds for other in others if other.first > row[0].first][:_NEAREST]
    deviation = min(_deviation(part) for part in (times, before, behind) if len(part) >= _NEAREST)
    spread = _OF_NORMAL * deviation
    alike = unit / (2.0 * math.sqrt(math.pi) * spread) if spread > 0.0 else 1.0  # two of a normal distribution
    chance = (len(row) + len(others)) * min(alike, 1.0) ** (len(row) - 1)
    return deviation if chance < _CHANCE else None


def _deviation(times: Sequence[int]) -> float:
    middle = statistics.median(times)
    return statistics.median(abs(each - middle) for each in times)
