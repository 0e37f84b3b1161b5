"""Standard errors, intervals and paired gaps of sampled bounds. No torch here: an audit imports it too.

Two questions are kept apart. How far is the printed bound from the bound of *this* model on *this* corpus, had every
mask been tried (``mc_stderr``)? And how far would the number move on other text of the same kind (``corpus_stderr``)?
docs/errors.md says what each means and derives the estimators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy import stats

from bpb_harness.errors import NumericsError, UsageError
from bpb_harness.units import nats_to_bits

Floats = npt.NDArray[np.float64]

_MOST_POLYNOMIALS = 6  # columns in the mask rate: degree 5
_DRAWS_PER_COLUMN = 6


@final
@dataclass(frozen=True)
class Draws:
    """The draws of a sampled bound, one row a draw; R draws of N windows, K of each.

    Attributes:
        window: (R,) int64, position 0 .. N - 1 among the windows scored.
        sample: (R,) int64, which draw of its window.
        v: (R,) float64 in (0, 1], the stratified uniform behind the mask rate.
        value_nats: (R,) float64, unbiased estimate of the window's bound from this draw alone.
        difficulty: (N,) float64, predicted nats of each window, in any unit.
        num_tokens: (N,) L of each window.
        num_bytes: (N,) bytes of each window.
        level: (R,) float64, what the value depends on through v: the mask rate, rounded to the grid of a T-step model.
            ``v`` serves where it is None.
    """

    window: npt.NDArray[Any]
    sample: npt.NDArray[Any]
    v: npt.NDArray[Any]
    value_nats: npt.NDArray[Any]
    difficulty: npt.NDArray[Any]
    num_tokens: npt.NDArray[Any]
    num_bytes: npt.NDArray[Any]
    level: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        assert len(self.window) == len(self.sample) == len(self.v) == len(self.value_nats)
        assert len(self.difficulty) == len(self.num_tokens) == len(self.num_bytes)
        if not np.isfinite(self.value_nats).all():
            raise NumericsError("values of draws", seen="NaN or infinity", expected="finite nats")

    @property
    def num_windows(self) -> int:
        """N."""
        return len(self.num_tokens)

    @property
    def window_nats(self) -> Floats:
        """Mean over each window's draws, (N,) float64: the estimate of its bound."""
        counts = np.bincount(self.window, minlength=self.num_windows)
        sums = np.bincount(self.window, weights=self.value_nats, minlength=self.num_windows)
        return np.asarray(sums / counts, dtype=np.float64)


def mc_stderr_nats(draws: Draws) -> float:
    """Standard error of the sum over windows of the mean over draws, in nats: the corpus is fixed, masks are not."""
    window, count = draws.window, draws.num_windows
    num_draws = np.bincount(window, minlength=count)
    tokens = np.asarray(draws.num_tokens, dtype=np.float64)
    residual = _residuals(draws) * tokens[window]
    if num_draws.min() < 2:
        return math.sqrt(float((residual**2 / num_draws[window] ** 2).sum()))
    mean = np.bincount(window, weights=residual, minlength=count) / num_draws
    square = (residual - mean[window]) ** 2 / (num_draws * (num_draws - 1.0))[window]
    return math.sqrt(float(square.sum()))


def grid_stderr_nats(draws: Draws, weight: npt.NDArray[Any]) -> float:
    """Standard error, in nats, of a bound whose every window was looked at on every node of a grid, one mask a node.

    Mask rates are not random then; only the masks are. Each node's value is compared with the line through its two
    neighbours in the same window, so that neither the window nor the slope of f(u) counts as noise; its curvature does,
    which makes the error a little too large on a coarse grid.

    Args:
        draws: every node of every window, in the order of the nodes within each window.
        weight: (R,) share of each draw's value in its window's bound; it sums to 1 within a window.

    Returns:
        The standard error. With fewer than 3 nodes a window has no neighbours to compare, and what difficulty does not
        explain of the differences between windows counts as noise: too large, never too small.
    """
    shape = (draws.num_windows, len(draws.window) // draws.num_windows)
    if shape[1] < 3:
        residual = _residuals(draws) * np.asarray(draws.num_tokens, dtype=np.float64)[draws.window]
        return math.sqrt(float((np.asarray(weight) ** 2 * residual**2).sum()))
    level = np.reshape(draws.v if draws.level is None else draws.level, shape)[0]
    value = np.reshape(draws.value_nats, shape)
    right = (level[1:-1] - level[:-2]) / (level[2:] - level[:-2])
    noise = value[:, 1:-1] - (1.0 - right) * value[:, :-2] - right * value[:, 2:]
    variance = noise**2 / (1.0 + (1.0 - right) ** 2 + right**2)
    # The outermost nodes have a neighbour on one side only and borrow its variance.
    variance = np.hstack([variance[:, :1], variance, variance[:, -1:]])
    return math.sqrt(float((np.reshape(weight, shape) ** 2 * variance).sum()))


def corpus_stderr(draws: Draws) -> float:
    """Standard error of bits per byte if the windows were a random sample of text; NaN for fewer than 2 windows."""
    count = draws.num_windows
    if count < 2:
        return math.nan
    num_bytes = np.asarray(draws.num_bytes, dtype=np.float64)
    nats = draws.window_nats
    deviation = nats - nats.sum() / num_bytes.sum() * num_bytes
    variance = count / (count - 1.0) * float((deviation**2).sum())
    return nats_to_bits(math.sqrt(variance)) / float(num_bytes.sum())


def paired_gap(discrete: Draws, mc: Draws) -> tuple[float, float]:
    """Gap of two coupled bounds, discrete minus continuous, and its standard error, in nats.

    Args:
        discrete: draws of the T-step bound.
        mc: draws of the continuous one: the same windows, samples and v, row by row.

    Raises:
        UsageError: if the draws are not coupled.
    """
    same = (
        len(discrete.window) == len(mc.window)
        and np.array_equal(discrete.window, mc.window)
        and np.array_equal(discrete.sample, mc.sample)
        and np.array_equal(discrete.v, mc.v)
    )
    if not same:
        raise UsageError("the two bounds were not measured with the same draws", hint="pass --compare")
    difference = Draws(
        window=mc.window, sample=mc.sample, v=mc.v, value_nats=discrete.value_nats - mc.value_nats,
        difficulty=mc.difficulty, num_tokens=mc.num_tokens, num_bytes=mc.num_bytes,
    )  # fmt: skip
    return math.fsum(difference.window_nats), mc_stderr_nats(difference)


def confidence_interval(
    estimate: float, stderr: float, level: float = 0.95, *, degrees_of_freedom: int | None = None
) -> tuple[float, float]:
    """Central interval of an estimate, (low, high): normal, or Student's t where the error has few degrees of freedom."""
    assert 0.0 < level < 1.0
    upper = 0.5 + level / 2.0
    quantile = stats.norm.ppf(upper) if degrees_of_freedom is None else stats.t.ppf(upper, degrees_of_freedom)
    half = float(quantile) * stderr
    return estimate - half, estimate + half


def between_pass_stderr(pass_totals: Sequence[float]) -> float:
    """Standard error of the mean of independent passes, from their spread; NaN for fewer than 2."""
    if len(pass_totals) < 2:
        return math.nan
    return float(np.std(pass_totals, ddof=1)) / math.sqrt(len(pass_totals))


def _residuals(draws: Draws) -> Floats:
    """Nats per token of each draw less a smooth function of mask rate and difficulty, (R,), degrees of freedom paid."""
    tokens = np.asarray(draws.num_tokens, dtype=np.float64)
    level = draws.v if draws.level is None else draws.level
    rate = np.asarray(draws.difficulty, dtype=np.float64) / tokens
    spread = float(np.std(rate))
    hardness = (rate - rate.mean()) / spread if spread > 0 else np.zeros_like(rate)
    columns = int(np.clip(len(draws.window) // (2 * _DRAWS_PER_COLUMN), 1, _MOST_POLYNOMIALS))
    powers = np.polynomial.legendre.legvander(2.0 * np.asarray(level, dtype=np.float64) - 1.0, columns - 1)
    basis = np.hstack([powers, powers * hardness[draws.window][:, None]])
    value = np.asarray(draws.value_nats, dtype=np.float64) / tokens[draws.window]
    weight = np.sqrt(tokens[draws.window])
    solution, _, rank, _ = np.linalg.lstsq(basis * weight[:, None], value * weight, rcond=1e-10)
    freedom = max(len(value) - int(rank), 1)
    return np.asarray((value - basis @ solution) * math.sqrt(len(value) / freedom), dtype=np.float64)
