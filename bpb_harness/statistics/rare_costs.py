"""Masks that cost far more than others and are rarely drawn: when is a sampling error not to be trusted?

A standard error describes the draws that there are. Where a rare mask costs many times what others do, most samples
hold none of it: they all agree on too low a number. No statistic of such a sample can tell; what can be told is that a
few draws decide the error, that draws made for this purpose at the ends of the mask rates cost what the sample never
met, or that all draws of each window cost the same and are too few to have met what is rare. docs/errors.md says what
was measured.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FAR = 10.0  # typical deviations
_FAR_ABOVE = 1.5  # times the largest typical cost at any rate
_MIN_FAR = 12  # of so many the spread of a sample is known well enough
_MAX_SHARE = 0.25  # of all squared deviations
_DRAWS_FOR_DEGREE = (8, 16, 32)  # of the curve: 0 for fewer than the first
_REWEIGHTINGS = 25
_BULK, _NORMAL_BULK = 0.8, 1.2816  # a quantile, and that of the absolute value of a standard normal
_ROUNDING = 1e-5  # relative
_UNSEEN_AT_95_PERCENT = 3.0  # what n draws never met has a probability of at most 3 / n


@final
@dataclass(frozen=True)
class DrawnCosts:
    """What single masks cost.

    Attributes:
        window: (n,) which window each belongs to.
        cost: C / |M|, (n,) nats per masked token.
        mask_rate: mask rate, (n,).
        num_masked: |M|, (n,).
        probability: how much of all draws of the bound lies where these are from; below 1 of those from the lowest or
            the highest mask rates, made to look at them and for no total.
    """

    window: npt.NDArray[Any]
    cost: npt.NDArray[Any]
    mask_rate: npt.NDArray[Any]
    num_masked: npt.NDArray[Any]
    probability: float = 1.0

    def __len__(self) -> int:
        return len(self.cost)


@final
@dataclass(frozen=True)
class TypicalCosts:
    """What masks typically cost by their rate, and how far from it they typically lie, as rare ones cannot move it.

    Attributes:
        curve: coefficients of a Legendre series in 2 u - 1, nats per masked token; least absolute deviations.
        most: the largest cost that is not far whatever the spread: what guessing blindly costs, or half as much again
            as the largest typical cost. Of honest text single tokens get above it, hardly ever the mean of several.
        spread: typical deviation that does not depend on the number of masked tokens.
        token_spread: the same of a mask of one token, as far as deviations average out over masked tokens.
    """

    curve: Floats
    most: float
    spread: float
    token_spread: float

    @classmethod
    def of(cls, costs: DrawnCosts, blind_nats: float) -> TypicalCosts:
        """From the draws of a sample, and what guessing a token blindly costs."""
        degree = int(np.searchsorted(_DRAWS_FOR_DEGREE, len(costs), side="right"))
        rates = np.asarray(costs.mask_rate, dtype=np.float64)
        columns = np.asarray(np.polynomial.legendre.legvander(2.0 * rates - 1.0, degree), dtype=np.float64)
        curve = _least_absolute(columns, np.asarray(costs.cost, dtype=np.float64))
        fitted = columns @ curve
        away = np.abs(_free_of_windows(costs.cost - fitted, costs.window))
        largest = float(np.abs(fitted).max())
        return cls(
            curve,
            max(_FAR_ABOVE * largest, blind_nats),
            max(_typical(away), _ROUNDING * largest),
            _typical(away * np.sqrt(costs.num_masked)),
        )

    def excess(self, costs: DrawnCosts) -> Floats:
        """How much more than typical at its rate each draw costs, (n,) nats per masked token."""
        typical = np.polynomial.legendre.legval(2.0 * np.asarray(costs.mask_rate) - 1.0, self.curve)
        return np.asarray(costs.cost - typical, dtype=np.float64)

    def are_far(self, costs: DrawnCosts, excess: Floats) -> npt.NDArray[np.bool_]:
        """Which draws lie so far above the others that no honest spread explains them, (n,)."""
        scale = np.sqrt(self.spread**2 + self.token_spread**2 / costs.num_masked)
        return np.asarray((excess > _FAR * scale) & (costs.cost > self.most))


def _typical(away: Floats) -> float:
    """Standard deviation of the bulk of normal deviations: a fifth of them may be anything."""
    return float(np.quantile(away, _BULK)) / _NORMAL_BULK


def _least_absolute(columns: Floats, values: Floats) -> Floats:
    """Coefficients with the least sum of absolute deviations, nearly: least squares, weighted anew by their inverse."""
    least = _ROUNDING * float(np.abs(values).max()) + np.finfo(np.float64).tiny
    weight = np.ones_like(values)
    curve: Floats = np.zeros(columns.shape[1])
    for _ in range(_REWEIGHTINGS):
        root = np.sqrt(weight)
        curve = np.asarray(np.linalg.lstsq(columns * root[:, None], values * root, rcond=None)[0], dtype=np.float64)
        weight = 1.0 / np.maximum(np.abs(values - columns @ curve), least)
        weight /= weight.max()
    return curve


def _free_of_windows(values: npt.NDArray[Any], window: npt.NDArray[Any]) -> Floats:
    """Values less the median of their window; as they are where every window has one alone."""
    counts = np.bincount(window)
    if counts.max() < 2:
        return np.asarray(values, dtype=np.float64)
    order = np.lexsort((values, window))
    first = np.cumsum(counts) - counts
    last = np.maximum(counts - 1, 0)
    ranked = np.append(values[order], 0.0)
    medians = (ranked[first + last // 2] + ranked[first + (last + 1) // 2]) / 2.0
    return np.asarray(values - medians[window], dtype=np.float64)


def reason_to_doubt(
    sample: DrawnCosts,
    *,
    lengths: npt.NDArray[Any],
    half_width: float,
    blind_nats: float,
    pilot: DrawnCosts | None = None,
    ends: tuple[DrawnCosts, ...] = (),
) -> str | None:
    """Why the error of a sample is not to be trusted; None where nothing speaks against it.

    Args:
        sample: the draws that enter the total.
        lengths: L of each window, (N,).
        half_width: half of the 95 % interval of the mean cost, nats per token.
        blind_nats: what guessing a token blindly costs.
        pilot: draws of the same kind that enter no total.
        ends: draws from the ends of the mask rates.
    """
    typical = TypicalCosts.of(sample, blind_nats)
    excess = typical.excess(sample)
    far = typical.are_far(sample, excess)
    return (
        _decided_by_few(sample, excess, far)
        or _met_elsewhere(typical, far, len(sample), half_width, pilot, ends)
        or _all_alike(sample, excess, lengths)
    )


def _decided_by_few(sample: DrawnCosts, excess: Floats, far: npt.NDArray[np.bool_]) -> str | None:
    """A few draws that cost far more than the others hold a good part of all squared deviations."""
    count = int(far.sum())
    if not 0 < count < _MIN_FAR:
        return None
    squares = _free_of_windows(excess, sample.window) ** 2
    if float(squares[far].sum()) <= _MAX_SHARE * float(squares.sum()):
        return None
    times = float((sample.cost[far] / (sample.cost[far] - excess[far])).mean())
    return f"{count} of {len(sample):,} masks cost {times:.0f} times what others do, and so few decide it"


def _met_elsewhere(
    typical: TypicalCosts,
    far: npt.NDArray[np.bool_],
    count: int,
    half_width: float,
    pilot: DrawnCosts | None,
    ends: tuple[DrawnCosts, ...],
) -> str | None:
    """Other draws met costs that the sample hardly did, and that would move it by a quarter of its interval or more."""
    if int(far.sum()) >= _MIN_FAR:
        return None
    looked = [(end, "at the ends of the mask rates") for end in ends]
    if pilot is not None:
        looked.append((pilot, "of the pilot's"))
    for costs, where in looked:
        excess = typical.excess(costs)
        there = typical.are_far(costs, excess)
        if costs.probability * float((excess * there).sum()) / len(costs) > half_width / 2.0:
            return (
                f"{int(there.sum())} of {len(costs):,} masks {where} cost up to {float(costs.cost[there].max()):.3g} "
                f"nats a token, and {int(far.sum())} of the {count:,} that were drawn cost anything like it"
            )
    return None


def _all_alike(sample: DrawnCosts, excess: Floats, lengths: npt.NDArray[Any]) -> str | None:
    """No draw of a window costs other than its others, and masks unlike them may not have been among them.

    Of masks that leave a token visible it is known how many there are where every draw hid all: 1 - u^(L - 1). Of masks
    of one token, of which there is one in L, it is known how many draws meet one.
    """
    away = _free_of_windows(excess, sample.window)
    if float(np.abs(away).max()) > _ROUNDING * float(np.abs(sample.cost).max()):
        return None
    drawn_lengths = np.asarray(lengths)[sample.window]
    if (np.asarray(sample.num_masked) == drawn_lengths).all():
        share = float((1.0 - np.asarray(sample.mask_rate) ** (drawn_lengths - 1.0)).mean())
        if share <= _ROUNDING:
            return None
    elif len(sample) >= _UNSEEN_AT_95_PERCENT * int(np.max(lengths)):
        return None
    else:
        share = min(_UNSEEN_AT_95_PERCENT / len(sample), 1.0)
    which = "" if float(np.abs(excess).max()) <= _ROUNDING * float(np.abs(sample.cost).max()) else " of a window"
    return (
        f"all {len(sample):,} masks{which} cost the same, which says nothing of the others: up to {share:.2g} of all "
        "masks may cost anything"
    )
