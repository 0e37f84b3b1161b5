"""The error of the mean over independent passes of one sampling design, and how many passes a tolerance takes.

The number of passes must not depend on the draws that are averaged: to stop at the first narrow interval picks passes
that look alike by chance, and where rare masks cost the most, those without any. Other draws fix it, the pilot's.
Derivation: MATHS.md, section 7. No torch here.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from bpb_harness.statistics.standard_errors import (
    Draws,
    between_pass_stderr,
    confidence_interval,
    deviations_of_passes,
    with_design_variance,
)

Floats = npt.NDArray[np.float64]

MAX_COUNT = 1 << 60  # beyond it numbers of passes are not told apart
MIN_STRATA = 24  # of a pass: fewer do not integrate the curve over the mask rates, which is part of the error then
_ONE_SIDED_95 = 1.645
_DEGREES_PER_EQUAL_SQUARE = 2.0
_SHARE_OF_DEGREES = 0.6  # that the squares of normal deviations leave of them


@final
@dataclass(frozen=True)
class PassSpread:
    """How far independent passes differ.

    Attributes:
        variance: of the mean over the passes' totals, nats squared.
        num_passes: how many.
        degrees_of_freedom: of the variance; fewer where few draws make up most of it.
        independent: how many independent deviations it was added up from.
        relative_error: standard error of the variance over the variance, as its parts show it.
    """

    variance: float
    num_passes: int
    degrees_of_freedom: float
    independent: int
    relative_error: float


def spread_of_passes(draws: Draws, num_passes: int, weight: npt.NDArray[Any] | None = None) -> PassSpread:
    """Spread of two passes or more, whose draws are merged in the order of windows and passes.

    Args:
        draws: of all passes.
        num_passes: n, 2 or more; each has as many draws of every window.
        weight: (R,) share of each draw in its window's bound within a pass, where every node of a grid is looked at.
    """
    count = draws.num_windows
    per_pass = len(draws.window) // (count * num_passes)
    shape, design = (count, num_passes, per_pass), 0.0
    if weight is not None:
        # No mask rate is random then: windows are independent, and each window's passes alike.
        totals = (np.asarray(draws.value_nats) * weight).reshape(shape).sum(axis=2)
        away = totals - totals.mean(axis=1, keepdims=True)
    elif count * per_pass >= MIN_STRATA:
        deviations, design = deviations_of_passes(draws, num_passes)
        away = deviations.reshape(shape).mean(axis=2)
    else:
        totals = np.asarray(draws.value_nats).reshape(shape).mean(axis=2).sum(axis=0, keepdims=True)
        away = totals - totals.mean()
    squares = away**2 / (num_passes * (num_passes - 1.0))
    variance = between_pass_stderr(totals[0]) ** 2 if len(squares) == 1 else float(squares.sum())
    whole = with_design_variance(variance, design / num_passes, has_jumps=draws.has_jumps)
    if variance == 0.0:
        return PassSpread(whole, num_passes, math.inf, squares.size - len(squares), 0.0)
    independent = squares.size - len(squares)
    degrees = min(independent, _DEGREES_PER_EQUAL_SQUARE * variance**2 / float((squares**2).sum()))
    parts = squares.sum(axis=1) if len(squares) > 1 else squares[0]
    relative = float(parts.std(ddof=1) / parts.mean()) / math.sqrt(len(parts))
    return PassSpread(whole, num_passes, max(degrees, 1.0), independent, relative)


def passes_for(
    half_width: float, pilot: PassSpread, variance: float, num_windows: int, per_pass: int, *, fewest: int
) -> int:
    """How many passes make half of the 95 % interval of their mean at most ``half_width``, nineteen times in twenty.

    Neither the pilot nor the passes to come know the variance better than their draws tell: it is taken as much larger
    as both together may be wrong.

    Args:
        half_width: nats.
        pilot: its passes.
        variance: of one pass's total, nats squared.
        num_windows: N.
        per_pass: draws of each window in a pass.
        fewest: never fewer; 2 where one pass does not know its own error.

    Returns:
        The least that suffices; `MAX_COUNT` where it takes more.
    """
    free = num_windows if num_windows * per_pass >= MIN_STRATA else 1

    def suffices(count: int) -> bool:
        independent = free * max(count - 1, 1)
        later = pilot.relative_error * math.sqrt(pilot.independent / independent)
        at_most = variance * (1.0 + _ONE_SIDED_95 * math.hypot(pilot.relative_error, later))
        degrees = max(_SHARE_OF_DEGREES * independent, 1.0) if count > 1 else None
        low, high = confidence_interval(0.0, math.sqrt(at_most / count), degrees_of_freedom=degrees)
        return high - low <= 2.0 * half_width

    enough = fewest
    while not suffices(enough):
        enough *= 2
        if enough > MAX_COUNT:
            return MAX_COUNT
    # More passes are never less precise: the least that suffices lies in the last doubling.
    least = max(enough // 2, fewest)
    return least + bisect.bisect_left(range(least, enough), True, key=suffices)
