"""How far a difference would move on other text of the same kind: a ratio of sums over units of very unequal length.

With d_j the difference in bits of unit j and b_j its bytes, the difference per byte is r = sum d / sum b, and

    se = sqrt( n / (n - 1) sum (d_j - r b_j)^2 ) / sum b

(MATHS.md, section 11). How r - m over se is distributed where the true ratio is m is found by drawing units with
replacement, each time studentised anew: units are skewed, and the normal law would call too much significant. Up to 15
units all flips of the signs of d_j - m b_j are gone through instead. docs/comparison.md says how often either is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_FLIPPED = 15
MAX_UNITS = 2_000
NUM_RESAMPLES = 9_999
LEAST_P = 2.0 / (NUM_RESAMPLES + 1.0)  # two-sided; a p as small may be any smaller one
_CHUNK = 1 << 21
_FARTHEST, _HALVINGS = 2.0**20, 60  # standard errors
_LEAST = 1e-12  # relative: less of a difference is rounding
Way = Literal["bootstrap", "sign flips", "none"]


@final
@dataclass(frozen=True)
class TextError:
    """What units say of a difference.

    Attributes:
        ratio: sum of differences over sum of bytes.
        stderr: of the ratio, over the choice of units; None for fewer than two, or where part of it is not known.
        num_units: n, after neighbours were taken together.
        way: how p is found.
        differences: (n,).
        sizes: (n,) bytes.
        unit_stderr: what of it the units show.
        resampled: studentised ratios of resampled units, ascending; empty unless they were drawn.
    """

    ratio: float
    stderr: float | None
    num_units: int
    way: Way
    differences: Floats
    sizes: Floats
    unit_stderr: float
    resampled: Floats

    @classmethod
    def of(cls, differences: Floats, sizes: Floats, shared_variance: float = 0.0) -> TextError:
        """From the difference and the bytes of each unit, in the order of the text.

        Args:
            differences: (n,).
            sizes: (n,).
            shared_variance: of the sum of differences, from what units have in common; infinite where not known.
        """
        differences, sizes = _at_most(differences, MAX_UNITS), _at_most(sizes, MAX_UNITS)
        count, total = len(sizes), float(sizes.sum())
        ratio = math.fsum(differences) / total
        away = differences - ratio * sizes
        none = np.zeros(0)
        if count < 2 or math.isinf(shared_variance):
            return cls(ratio, None, count, "none", differences, sizes, 0.0, none)
        own = math.sqrt(count / (count - 1.0) * math.fsum(away**2)) / total
        stderr = math.hypot(own, math.sqrt(shared_variance) / total)
        if count <= MAX_FLIPPED:
            return cls(ratio, stderr, count, "sign flips", differences, sizes, own, none)
        return cls(ratio, stderr, count, "bootstrap", differences, sizes, own, _studentised(away, sizes))

    @property
    def least_p(self) -> float | None:
        """The smallest p that so few units can show; None where resampling tells it, or nothing does."""
        return 2.0 ** (1 - self.num_units) if self.way == "sign flips" else None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Central interval of the ratio; None for so few units that none of their signs could show as much.

        Five that are alike by luck would give an interval that their p contradicts.
        """
        if self.stderr is None or (self.least_p is not None and self.least_p > 1.0 - level):
            return None
        if self.stderr == 0.0:
            return self.ratio, self.ratio
        if self.way == "sign flips":
            return self._flipped_interval(1.0 - level)
        # The quantiles by which p counts: it lies below 1 - level just where the interval leaves the margin out.
        kept = max(math.ceil(round((1.0 - level) / 2.0 * (NUM_RESAMPLES + 1.0), 6) - 1.0), 1)
        low, high = self.resampled[kept - 1], self.resampled[NUM_RESAMPLES - kept]
        return self.ratio - float(high) * self.stderr, self.ratio - float(low) * self.stderr

    def _flipped_interval(self, least: float) -> tuple[float, float] | None:
        """The margins whose p is no less; None where they have no end.

        That a flip goes as far as what was seen is that the units it turns have a ratio beyond the margin. So p falls
        with the margin's distance on either side, and its ends are found by halving.
        """
        assert self.stderr is not None
        ends = []
        for side in (-1.0, 1.0):
            near, far = 0.0, 1.0
            while far < _FARTHEST and not self._is_rejected(side * far, least):
                near, far = far, 2.0 * far
            if far >= _FARTHEST:
                return None
            for _ in range(_HALVINGS):
                middle = 0.5 * (near + far)
                near, far = (near, middle) if self._is_rejected(side * middle, least) else (middle, far)
            ends.append(self.ratio + side * near * self.stderr)
        return ends[0], ends[1]

    def _is_rejected(self, errors: float, least: float) -> bool:
        """Whether p is less for a margin that many standard errors away."""
        assert self.stderr is not None
        low, high = self._flips(self.ratio + errors * self.stderr)
        return 2.0 * min(low, high) < least

    def p_below(self, margin: float = 0.0) -> float | None:
        """How rarely units that differ by ``margin`` or more per byte would show so low a ratio."""
        return self._tails(margin)[0]

    def p_other(self, margin: float = 0.0) -> float | None:
        """How rarely units that differ by ``margin`` per byte would show a ratio so far from it, on either side."""
        low, high = self._tails(margin)
        return None if low is None or high is None else min(2.0 * min(low, high), 1.0)

    def _tails(self, margin: float) -> tuple[float | None, float | None]:
        if self.stderr is None:
            return None, None
        away = self.differences - margin * self.sizes
        if np.abs(away).max() <= _LEAST * max(np.abs(self.differences).max(), abs(margin) * self.sizes.max(), 1e-300):
            return 1.0, 1.0
        if self.way == "sign flips":
            return self._flips(margin)
        if self.stderr == 0.0:  # all alike, and not at the margin
            least = 1.0 / (NUM_RESAMPLES + 1.0)
            return (least, 1.0) if self.ratio < margin else (1.0, least)
        seen = (self.ratio - margin) / self.stderr
        below = int(np.searchsorted(self.resampled, seen, side="right"))
        above = NUM_RESAMPLES - int(np.searchsorted(self.resampled, seen, side="left"))
        return (1.0 + below) / (NUM_RESAMPLES + 1.0), (1.0 + above) / (NUM_RESAMPLES + 1.0)

    def _flips(self, margin: float) -> tuple[float, float]:
        """Both tails; a margin is taken for nearer where the units show only a part of the error of their ratio."""
        shown = self.unit_stderr / self.stderr if self.stderr else 1.0
        return _flipped(self.differences - (self.ratio + shown * (margin - self.ratio)) * self.sizes)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction: each p as it is among all of those that are known, in their order."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min((len(p_values) - rank) * p, 1.0))
        corrected[index] = largest
    return corrected


def holm_or_less(p_values: Sequence[float | None]) -> list[bool]:
    """Of each p that :func:`holm` corrects, whether it may be smaller: it was made of one that resampling cuts off."""
    smaller = holm([0.0 if p is not None and p <= LEAST_P else p for p in p_values])
    return [p is not None and least is not None and least < p for p, least in zip(holm(p_values), smaller, strict=True)]


def grouped(values: Floats, size: int) -> Floats:
    """Sums of so many neighbours each; what is left at the end goes to the last."""
    count = max(len(values) // size, 1)
    return np.add.reduceat(values, np.arange(count) * size)


def _at_most(values: Floats, most: int) -> Floats:
    """Neighbours taken together, so that no more units are left: thousands tell the spread well enough."""
    return grouped(values, math.ceil(len(values) / most)) if len(values) > most else values


def _studentised(away: Floats, sizes: Floats) -> Floats:
    """Resampled ratios over their own standard errors, about the ratio of all; ascending."""
    count = len(sizes)
    scale = float(np.abs(away).max()) or 1.0
    away = away / scale
    columns = np.stack([away, sizes, away * away, away * sizes, sizes * sizes], axis=1)
    rng = np.random.Generator(np.random.PCG64(0))
    parts = []
    rows = max(_CHUNK // count, 1)
    for start in range(0, NUM_RESAMPLES, rows):
        some = min(rows, NUM_RESAMPLES - start)
        drawn = rng.integers(count, size=(some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count).astype(np.float64)
        total, size, square, cross, size_square = (times @ columns).T
        shift = total / size
        spread = np.maximum(square - 2.0 * shift * cross + shift**2 * size_square, 0.0)
        error = np.sqrt(count / (count - 1.0) * spread)
        least = _LEAST * count
        # Of units that are all alike nothing is known of the error: as far away as can be.
        far = np.sign(total) * np.finfo(np.float64).max
        parts.append(np.where(error > least, total / np.maximum(error, least), far))
    return np.sort(np.concatenate(parts))


def _flipped(away: Floats) -> tuple[float, float]:
    """Shares of all flips of signs whose sum is as low, and as high, as the one seen."""
    sums = np.zeros(1)
    for value in away:
        sums = np.concatenate([sums - value, sums + value])
    seen, slack = float(sums[-1]), _LEAST * float(np.abs(away).sum())
    return float((sums <= seen + slack).mean()), float((sums >= seen - slack).mean())
