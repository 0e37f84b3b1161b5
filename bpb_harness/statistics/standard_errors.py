"""Standard errors, intervals and paired gaps of sampled bounds. No torch here: an audit imports it too.

Two questions are kept apart. How far is the printed bound from the bound of *this* model on *this* corpus, had every
mask been tried (``mc_stderr``)? And how far would the number move on other text of the same kind (``corpus_stderr``)?
docs/errors.md says what each means and derives the estimators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import NumericsError, UsageError
from bpb_harness.statistics.design_error import design_variance
from bpb_harness.statistics.grid_error import MIN_NODES, grid_degrees_of_freedom, grid_noise_variance
from bpb_harness.units import nats_to_bits

Floats = npt.NDArray[np.float64]

_MAX_POLYNOMIALS = 6  # columns in the mask rate: degree 5
_CURVED_POLYNOMIALS = 3  # of them, times the square of the difficulty
_DRAWS_PER_COLUMN = 6
_DRAWS_OF_JUMPS = 8 * _DRAWS_PER_COLUMN  # of fewer, what one rate jumps beside another counts as noise
FEW_DRAWS = 2 * _DRAWS_PER_COLUMN  # of fewer, nothing is fitted but the mean
_MIN_WINDOWS_SHARED = 16
_MAX_SUBTRACTED = 0.6  # of a variance: a guard against chance on few windows
_STDERRS_KEPT = 2.0
_MAX_LEAN = 0.9
_MAX_LEVERAGE = 0.9  # a draw that alone decides part of the fit has no residual to go by
_SHRINKAGE = 2.5  # standard errors: a lean is believed where it is beyond doubt
_FEW_DEGREES = 30  # of these and more the normal law serves: its interval holds in 94 % with 30, in 90 % with six
_SCALE_BINS = 16
_CHANCE_OF_THE_FIT = 0.5  # of a variance: where draws are few, the noise of the fit looks like so much of it
_MIN_VARIATION = 1e-10  # relative: less of a column is rounding
_USUAL_LEVEL, _USUAL_NORMAL_QUANTILE = 0.95, 1.959963984540054
_USUAL_STUDENT_QUANTILES = {  # by degrees of freedom, those that are few: a short score need not import scipy
    1: 12.706204736174694, 2: 4.302652729749462, 3: 3.1824463052837078, 4: 2.7764451051977934, 5: 2.5705818356363146,
    6: 2.4469118511449786, 7: 2.364624251592784, 8: 2.306004135204166, 9: 2.262157162798205, 10: 2.228138851986274,
    11: 2.200985160091639, 12: 2.1788128296672284, 13: 2.1603686564627913, 14: 2.144786687917804,
    15: 2.131449545559776, 16: 2.1199052992212546, 17: 2.1098155778333156, 18: 2.1009220402410382,
    19: 2.0930240544083087, 20: 2.085963447265864, 21: 2.0796138447276795, 22: 2.0738730679040254,
    23: 2.0686576104190486, 24: 2.0638985616280245, 25: 2.0595385527532972, 26: 2.0555294386428735,
    27: 2.0518305164802846, 28: 2.0484071417952454, 29: 2.045229642132703,
}  # fmt: skip


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
        level_at: what it is at any v, where that is known.
        coarse_level: of differences of two bounds that round v in different ways: ``level`` of the one with fewer
            different rates, while ``level`` is that of the other; (R,) float64. None where both depend on ``level``.
        coarse_level_at: what it is at any v, where that is known.
        replicates: second draws of some windows, independent of the first, where every window has one draw.
            For :func:`mc_stderr_nats` alone.
    """

    window: npt.NDArray[Any]
    sample: npt.NDArray[Any]
    v: npt.NDArray[Any]
    value_nats: npt.NDArray[Any]
    difficulty: npt.NDArray[Any]
    num_tokens: npt.NDArray[Any]
    num_bytes: npt.NDArray[Any]
    level: npt.NDArray[Any] | None = None
    replicates: Draws | None = None
    level_at: Callable[[Floats], Floats] | None = None
    coarse_level: npt.NDArray[Any] | None = None
    coarse_level_at: Callable[[Floats], Floats] | None = None

    def __post_init__(self) -> None:
        assert len(self.window) == len(self.sample) == len(self.v) == len(self.value_nats)
        assert len(self.difficulty) == len(self.num_tokens) == len(self.num_bytes)
        if not np.isfinite(self.value_nats).all():
            raise NumericsError("values of draws", seen="NaN or infinity", expected="finite nats")

    def parted(self, num_replicates: int) -> Draws:
        """The same, but that so many of the rows, the last, are replicates of the others."""
        if not num_replicates:
            return self
        first = len(self.window) - num_replicates
        by_row = ["window", "sample", "v", "value_nats"]
        by_row += [name for name in ("level", "coarse_level") if getattr(self, name) is not None]

        def rows(part: slice) -> Draws:
            return replace(self, **{name: getattr(self, name)[part] for name in by_row})

        return replace(rows(slice(first)), replicates=rows(slice(first, None)))

    @property
    def rates(self) -> Floats:
        """What the value of each draw depends on, (R,): its level, or v."""
        return _float64(self.v if self.level is None else self.level)

    def both_rates_at(self, v: Floats) -> tuple[Floats, Floats | None]:
        """What ``rates`` and ``coarse_level`` would be at other places, (n,) each."""
        rates = self._rates_at(v, self.rates) if self.level_at is None else self.level_at(v)
        if self.coarse_level is None or self.coarse_level_at is not None:
            return rates, None if self.coarse_level_at is None else self.coarse_level_at(v)
        return rates, self._rates_at(v, _float64(self.coarse_level))

    def _rates_at(self, v: Floats, rates: Floats) -> Floats:
        """Between two draws they rise evenly; those of a grid are v times the largest, rounded up to the next."""
        known = np.unique(rates)
        if 2 * len(known) > len(rates):
            order = np.argsort(self.v)
            return _float64(np.interp(v, _float64(self.v)[order], rates[order]))
        return _float64(known[np.minimum(np.searchsorted(known, v * known[-1]), len(known) - 1)])

    @property
    def has_jumps(self) -> bool:
        """Whether a fit has columns for what one rate jumps beside another."""
        return self.coarse_level is not None and len(self.window) >= _DRAWS_OF_JUMPS

    @property
    def num_windows(self) -> int:
        """N."""
        return len(self.num_tokens)

    @property
    def nats_per_token(self) -> Floats:
        """Each draw's value over the length of its window, (R,) float64."""
        return _float64(_float64(self.value_nats) / _float64(self.num_tokens)[self.window])

    @property
    def window_nats(self) -> Floats:
        """Mean over each window's draws, (N,) float64: the estimate of its bound."""
        counts = np.bincount(self.window, minlength=self.num_windows)
        sums = np.bincount(self.window, weights=self.value_nats, minlength=self.num_windows)
        return _float64(sums / counts)

    @cached_property
    def regression(self) -> _Regression:
        """What their mask rates and their windows' difficulty explain: both errors of a score ask for it."""
        return _Regression.of(self)


def _float64(values: npt.NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def mc_stderr_nats(draws: Draws, num_passes: int = 1) -> float:
    """Standard error of the sum over windows of the mean over draws, in nats: the corpus is fixed, masks are not.

    What mask rate and difficulty explain is taken out by regression, for the stratified design integrates it almost
    exactly. Of the rest, what is constant within a window is no error either. With several draws a window, it drops
    out of their differences; with one, windows that were drawn a second time show how much of it there is. Where none
    were, only the part that adjacent windows share is subtracted, and the error is somewhat too large, never too small.
    What the strata do err of the fit (design_error.py) is added where it shows beside that: it is the whole error where
    costs hang on the mask rate alone. Derivation: docs/errors.md.

    Args:
        draws: the draws.
        num_passes: of how many designs they are.
    """
    design = draws.regression.design_variance(draws, num_passes) / num_passes
    return math.sqrt(with_design_variance(unexplained_variance(draws), design, has_jumps=draws.has_jumps))


def with_design_variance(unexplained: float, design: float, *, has_jumps: bool = False) -> float:
    """A variance that a fit has left, and what the design errs of the fit itself, where that shows beside it.

    Of jumps it counts always: each that lies inside a stratum is met or not, and there may be more jumps than strata.
    """
    return unexplained + design if has_jumps or design > _CHANCE_OF_THE_FIT * unexplained else unexplained


def unexplained_variance(draws: Draws) -> float:
    """Of the sum over windows of the mean over draws, by what the regression leaves of them."""
    fit = draws.regression
    tokens = _float64(draws.num_tokens)
    num_draws = np.bincount(draws.window, minlength=draws.num_windows)
    residual = fit.residual * tokens[draws.window]
    if num_draws.min() == num_draws.max() == 1 and draws.replicates is not None:
        return _replicated_variance(draws, draws.replicates, fit)
    if num_draws.min() != num_draws.max() or num_draws.min() < 2:
        return _single_draw_variance(residual / num_draws[draws.window], draws.window, draws.num_windows)
    order = np.lexsort((draws.sample, draws.window))
    shape = (draws.num_windows, int(num_draws[0]))
    position = 2.0 * _float64(draws.v)[order].reshape(shape) - 1.0
    within = fit.unseen * tokens[draws.window]
    if len(residual) < FEW_DRAWS:  # too few to tell a lean from chance
        return float((within**2).sum()) / (shape[1] * (shape[1] - 1.0))
    return _several_draws_variance(residual[order].reshape(shape), within, position, tokens)


def few_degrees_of_freedom(draws: Draws) -> int | None:
    """Degrees of freedom of :func:`mc_stderr_nats` for Student's t, where they are few; None: the normal law serves."""
    free = draws.regression.free
    return free if free < _FEW_DEGREES else None


def _replicated_variance(draws: Draws, replicates: Draws, fit: _Regression) -> float:
    """Sum of squares of the windows, less their constant parts as far as replicates show them.

    Two draws of a window have independent rates and masks: the mean product of their residuals is the variance of the
    windows' constant parts. Draws at low mask rates are the noisiest and pull the fit the most, so each residual is
    what it would be had the fit not seen it (HC3 of MacKinnon and White 1985), instead of all scaled alike.
    """
    tokens = _float64(draws.num_tokens)
    first = np.zeros(draws.num_windows)
    first[draws.window] = fit.unseen
    product = first[replicates.window] * fit.deviation(replicates) * tokens[replicates.window] ** 2
    scale = float((tokens**2).sum() / (tokens[replicates.window] ** 2).sum())
    square = float(((first * tokens) ** 2).sum())
    # Chance must not make the error vanish: at least two standard errors of what is subtracted stay.
    uncertain = _STDERRS_KEPT * scale * math.sqrt(float(product.var()) * len(product))
    most = max(square - uncertain, _MAX_SUBTRACTED * square)
    return square - float(min(max(scale * float(product.sum()), 0.0), most))


def _single_draw_variance(residual: Floats, window: npt.NDArray[Any], count: int) -> float:
    """Sum of squares of the windows, less what each shares with the next one in the text.

    Rates of different windows are independent, so the mean product of adjacent residuals estimates the covariance of
    the windows' constant parts, which by Cauchy-Schwarz is at most their variance.
    """
    by_window = _float64(np.bincount(window, weights=residual, minlength=count))
    square = float((by_window**2).sum())
    if count < _MIN_WINDOWS_SHARED:
        return square
    shared = count * float((by_window[1:] * by_window[:-1]).mean())
    return square - float(min(max(shared, 0.0), _MAX_SUBTRACTED * square))


def _several_draws_variance(residual: Floats, within: Floats, position: Floats, tokens: Floats) -> float:
    """Variance of the sum over windows of the mean of several draws.

    Differences within a window are free of its constant part and count its noise right, but a window whose curve
    leans otherwise than the corpus's also differs between its draws, and there mirrored positions err less than
    independent ones. The lean is measured by products of different draws, which share no noise, and corrected for.

    Args:
        residual: (N, K) nats.
        within: (R,) nats, differences to the window's mean as a fit would leave them that has not seen them.
        position: (N, K), 2 v - 1.
        tokens: (N,), a lean is taken to grow with the window's length.
    """
    num_samples = residual.shape[1]
    naive = float((within**2).sum()) / (num_samples * (num_samples - 1.0))
    centred = position - position.mean(axis=1, keepdims=True)
    counted = float((tokens**2 * (centred**2).sum(axis=1)).sum()) / (num_samples * (num_samples - 1.0))
    mean = position.mean(axis=1)
    true = float((tokens**2 * (mean - mean.mean()) ** 2).sum())
    excess = _lean_variance(residual / tokens[:, None], position) * max(counted - true, 0.0)
    return float(naive - min(excess, _MAX_LEAN * naive))


def _lean_variance(residual: Floats, position: Floats) -> float:
    """Variance of the windows' slopes over 2 v - 1, per token squared, drawn to 0 as far as it is uncertain.

    For two draws of a window E[r_j r_l] = a + b (x_j + x_l) + slope variance x_j x_l; least squares over all pairs,
    within windows where these have several pairs.
    """
    first, second = np.triu_indices(residual.shape[1], 1)
    product = residual[:, first] * residual[:, second]
    columns = np.stack([position[:, first] + position[:, second], position[:, first] * position[:, second]], axis=-1)
    # Products are as uncertain as the squares at their positions are large: at low mask rates, very.
    scale = _mean_square_at(position, residual)
    weight = 1.0 / (scale[:, first] * scale[:, second])
    axis = 1 if len(first) > 2 else (0, 1)
    total = weight.sum(axis=axis, keepdims=True)
    product = product - (weight * product).sum(axis=axis, keepdims=True) / total
    columns = columns - (weight[..., None] * columns).sum(axis=axis, keepdims=True) / total[..., None]
    weighted = columns * weight[..., None]
    bread = np.linalg.pinv(np.einsum("nkp,nkq->pq", weighted, columns), rcond=1e-9, hermitian=True)
    solution = bread @ np.einsum("nkp,nk->p", weighted, product)
    scores = (weighted * (product - columns @ solution)[..., None]).sum(axis=1)
    slope, stderr = float(solution[1]), math.sqrt(float((bread @ (scores.T @ scores) @ bread)[1, 1]))
    return slope * max(1.0 - (_SHRINKAGE * stderr / slope) ** 2, 0.0) if slope > 0.0 else 0.0


def _mean_square_at(position: Floats, residual: Floats) -> Floats:
    """Mean square of the residuals near each position, same shape; positive unless all residuals are 0."""
    bins = np.clip(((position + 1.0) / 2.0 * _SCALE_BINS).astype(np.int64), 0, _SCALE_BINS - 1)
    count = np.bincount(bins.ravel(), minlength=_SCALE_BINS)
    total = np.bincount(bins.ravel(), weights=residual.ravel() ** 2, minlength=_SCALE_BINS)
    overall = float((residual**2).mean()) or 1.0
    return _float64(((total + overall) / (count + 1.0))[bins])


def grid_stderr_nats(draws: Draws, weight: npt.NDArray[Any]) -> float:
    """Standard error, in nats, of a bound whose every window was looked at on every node of a grid, one mask a node.

    Mask rates are not random then; only the masks are. What the windows have in common at a node and a smooth curve of
    each window's own are no noise; the rest is (grid_error.py).

    Args:
        draws: every node of every window, in the order of the nodes within each window.
        weight: (R,) share of each draw's value in its window's bound; it sums to 1 within a window.

    Returns:
        The standard error. With fewer than 3 nodes a window has no curve, and what difficulty does not
        explain of the differences between windows counts as noise: too large, never too small.
    """
    shape = (draws.num_windows, len(draws.window) // draws.num_windows)
    if shape[1] < MIN_NODES:
        residual = draws.regression.residual * _float64(draws.num_tokens)[draws.window]
        return math.sqrt(float((np.asarray(weight) ** 2 * residual**2).sum()))
    value, share = np.reshape(_float64(draws.value_nats), shape), np.reshape(_float64(weight), shape)
    return math.sqrt(grid_noise_variance(value, share, draws.num_tokens, _hardness(draws)))


def few_grid_degrees_of_freedom(draws: Draws) -> int | None:
    """Likewise of :func:`grid_stderr_nats`: what its curves leave of the draws."""
    nodes = len(draws.window) // draws.num_windows
    free = len(draws.window) - 1
    if nodes >= MIN_NODES:
        free = grid_degrees_of_freedom(draws.num_tokens, nodes, _hardness(draws))
    return free if free < _FEW_DEGREES else None


def _hardness(draws: Draws) -> Floats:
    """Each window's difficulty per token, standardised, (N,); 0 where all are alike."""
    rate = _float64(draws.difficulty) / _float64(draws.num_tokens)
    spread = float(np.std(rate))
    return _float64((rate - rate.mean()) / spread if spread > 0 else np.zeros_like(rate))


def corpus_stderr(draws: Draws, known_noise: float = 0.0) -> float:
    """Standard error of bits per byte if the windows were a stretch of a stationary text; NaN where it is not known.

    The linearised ratio estimator (Cochran, Sampling Techniques, section 2.11) with autocovariances of adjacent windows
    under Bartlett weights (Newey and West 1987), since a document may span several windows. Each window is freed of
    the mask rate it happened to get, and the Monte-Carlo variance of the draws is subtracted. It is not known for fewer
    than 2 windows, nor where the windows differ by no more than the draws do.

    Args:
        draws: the windows, each with its draws.
        known_noise: Monte-Carlo variance of windows given as one draw each, nats squared.
    """
    count = draws.num_windows
    if count < 2:
        return math.nan
    num_bytes = _float64(draws.num_bytes)
    nats, noise = draws.window_nats, known_noise
    if len(draws.window) > count or np.ptp(draws.v) > 0:
        nats, noise = draws.regression.level_free_nats(draws), unexplained_variance(draws)
    deviation = nats - nats.sum() / num_bytes.sum() * num_bytes
    variance = float((deviation**2).sum())
    lags = min(int(4.0 * (count / 100.0) ** (2.0 / 9.0)), count // 4)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float((deviation[lag:] * deviation[:-lag]).sum())
    variance = variance * count / (count - 1.0) - noise
    if variance <= 0.0 < noise:
        return math.nan
    return nats_to_bits(math.sqrt(variance)) / float(num_bytes.sum())


def level_luck_nats(draws: Draws) -> Floats:
    """What each window owes to the mask rates that its draws happened to get, (N,) nats; it sums to next to nothing."""
    if np.ptp(draws.v) == 0 and len(draws.window) == draws.num_windows:
        return np.zeros(draws.num_windows)
    return _float64(draws.window_nats - draws.regression.level_free_nats(draws))


def confidence_interval(
    estimate: float, stderr: float, level: float = 0.95, *, degrees_of_freedom: float | None = None
) -> tuple[float, float]:
    """Central interval of an estimate, (low, high): normal, or Student's t for few degrees of freedom."""
    assert 0.0 < level < 1.0
    half = _quantile(level, degrees_of_freedom) * stderr
    return estimate - half, estimate + half


def _quantile(level: float, degrees_of_freedom: float | None) -> float:
    """Half of the interval, in standard errors."""
    if level == _USUAL_LEVEL and degrees_of_freedom is None:
        return _USUAL_NORMAL_QUANTILE
    if level == _USUAL_LEVEL and degrees_of_freedom in _USUAL_STUDENT_QUANTILES:
        return _USUAL_STUDENT_QUANTILES[int(degrees_of_freedom)]
    from scipy import special  # deferred: takes a fifth of a second to import; scipy.stats takes a second

    upper = 0.5 + level / 2.0
    return float(special.ndtri(upper) if degrees_of_freedom is None else special.stdtrit(degrees_of_freedom, upper))


def between_pass_stderr(pass_totals: Sequence[float] | Floats) -> float:
    """Standard error of the mean of independent passes, from their spread; NaN for fewer than 2."""
    if len(pass_totals) < 2:
        return math.nan
    return float(np.std(pass_totals, ddof=1)) / math.sqrt(len(pass_totals))


def deviations_of_passes(draws: Draws, num_passes: int) -> tuple[Floats, float]:
    """Differences, in nats, of draws of independent passes to their window's mean, (R,); and what is not among them.

    What mask rate and difficulty explain is taken out, as a fit would that has not seen the draw. How far the design of
    a pass errs of that is the second number, its variance.
    """
    fit = _Regression.of(draws, mirrored=False)
    return _float64(fit.unseen * _float64(draws.num_tokens)[draws.window]), fit.design_variance(draws, num_passes)


@final
@dataclass(frozen=True)
class _Basis:
    """Polynomials in the mask rate: alone, times the window's difficulty, and times that squared.

    A difference of two bounds on different grids jumps besides with where the one rate lies beside the other: by the
    slope of the curve. That is a curve in the rate, times the jump; a curve in v alone would take it for noise.

    Attributes:
        columns: polynomials alone.
        hard: of them, times the difficulty.
        few: of them, times its square.
        jumps: of them, times the jump; 0 where there is none.
        hardness: (N,) each window's difficulty per token, standardised.
        jump: the least and the largest.
    """

    columns: int
    hard: int
    few: int
    jumps: int
    hardness: Floats
    jump: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, draws: Draws) -> _Basis:
        jumps_too = draws.has_jumps
        # Columns of a jump take as many draws again.
        columns = int(np.clip(len(draws.window) // ((1 + jumps_too) * FEW_DRAWS), 1, _MAX_POLYNOMIALS))
        # Of very few draws nothing is fitted but the mean: a fit through every draw would leave an error of 0.
        hard = columns if len(draws.window) >= FEW_DRAWS else 0
        few = min(columns, _CURVED_POLYNOMIALS) if len(draws.window) >= 3 * _DRAWS_PER_COLUMN else 0
        jumps, jump = 0, (0.0, 0.0)
        if jumps_too and draws.coarse_level is not None:
            away = draws.rates - draws.coarse_level
            jumps, jump = min(columns, _CURVED_POLYNOMIALS), (float(away.min()), float(away.max()))
        return cls(columns, hard, few, jumps, _hardness(draws), jump)

    @property
    def degree(self) -> npt.NDArray[Any]:
        """Of the mask rate, in each column; a jump, which mirrored places have the other way round, counts as one."""
        plain = [np.arange(count) for count in (self.columns, self.hard, self.few)]
        if not self.jumps:
            return np.concatenate(plain)
        return np.concatenate([*plain, np.arange(1, self.jumps + 1), np.arange(1, self.jumps), [2]])

    def powers(self, level: npt.NDArray[Any], coarse_level: npt.NDArray[Any] | None) -> Floats:
        """The polynomials at some mask rates, and those times the jump beside the others, (n, columns)."""
        alone = _float64(np.polynomial.legendre.legvander(2.0 * level - 1.0, self.columns - 1))
        if not self.jumps or coarse_level is None:
            return alone
        least, most = self.jump
        jump = (2.0 * (level - coarse_level) - most - least) / max(most - least, _MIN_VARIATION)
        return np.hstack([alone, alone[:, : self.jumps] * jump[:, None], jump[:, None] ** 2])

    def joined(self, powers: Floats, hardness: Floats) -> Floats:
        """All columns, for polynomials (n, columns) at windows of some difficulties (n,)."""
        alone, jumped = powers[:, : self.columns], powers[:, self.columns :]
        hard = alone[:, : self.hard] * hardness[:, None]
        parts = [alone, hard, alone[:, : self.few] * (hardness**2 - 1.0)[:, None]]
        if self.jumps:
            parts += [jumped[:, :-1], jumped[:, : self.jumps - 1] * hardness[:, None], jumped[:, -1:]]
        return np.hstack(parts)

    def at(self, draws: Draws) -> Floats:
        """The columns at each draw."""
        return self.joined(self.powers(draws.rates, draws.coarse_level), self.hardness[draws.window])


@final
@dataclass(frozen=True)
class _Regression:
    """Least squares of nats per token on polynomials in the mask rate, alone and times the window's difficulty.

    Attributes:
        residual: (R,) nats per token, degrees of freedom paid.
        unseen: (R,) the same as a fit would leave it that has not seen the draw; with several draws of every window,
            of its difference to their mean.
        fitted: (R,) nats per token.
        fitted_mean: (N,) mean of each window's fitted curve over all mask rates of the design.
        basis: what was fitted.
        solution: its coefficients.
        free: degrees of freedom that are left; with several draws of every window, of their differences alone.
    """

    residual: Floats
    unseen: Floats
    fitted: Floats
    fitted_mean: Floats
    basis: _Basis
    solution: Floats
    free: int

    @classmethod
    def of(cls, draws: Draws, *, mirrored: bool = True) -> _Regression:
        """Fit; two draws of a window are ``mirrored`` unless they come from independent passes."""
        tokens, value = _float64(draws.num_tokens), draws.nats_per_token
        basis = _Basis.of(draws)
        rows = basis.at(draws)
        solution, ranks, leverage = _within_then_between(value, rows, basis.degree, draws.window, tokens, mirrored)
        rank = sum(ranks)
        if rank >= len(value):
            raise UsageError(
                "sampling error of one draw of one window",
                expected="two draws or more",
                hint="pass --samples 2 or more text",
            )
        fitted = rows @ solution
        residual = (value - fitted) * math.sqrt(len(value) / (len(value) - rank))
        unseen = _centred(value - fitted, draws.window) / (1.0 - leverage)
        spent = ranks[0] + draws.num_windows if np.bincount(draws.window).min() > 1 else rank
        # The design is a stratified sample of all rates: its own mean integrates any smooth curve.
        mean = basis.powers(draws.rates, draws.coarse_level).mean(axis=0)
        average = np.tile(mean, (draws.num_windows, 1))
        fitted_mean = basis.joined(average, basis.hardness) @ solution
        return cls(residual, unseen, fitted, fitted_mean, basis, solution, max(len(value) - spent, 1))

    def deviation(self, draws: Draws) -> Floats:
        """How far other draws of the same windows are from the fit, (R,) nats per token."""
        return _float64(draws.nats_per_token - self.basis.at(draws) @ self.solution)

    def design_variance(self, draws: Draws, num_passes: int = 1) -> float:
        """What other places of the design would do to the fitted total of a pass, nats squared."""
        if self.basis.columns == 1:  # a fit without a curve is the same at every place
            return 0.0
        per_pass = max(len(draws.window) // (draws.num_windows * num_passes), 1)
        tokens = _float64(draws.num_tokens)

        def fitted(window: npt.NDArray[Any], v: Floats) -> Floats:
            columns = self.basis.joined(self.basis.powers(*draws.both_rates_at(v)), self.basis.hardness[window])
            return _float64(columns @ self.solution * tokens[window])

        return design_variance(fitted, _float64(draws.difficulty), per_pass)

    def level_free_nats(self, draws: Draws) -> Floats:
        """Each window's estimate as if its draws had met all mask rates, (N,) nats."""
        tokens = _float64(draws.num_tokens)
        fitted = np.bincount(draws.window, weights=self.fitted, minlength=draws.num_windows)
        luck = fitted / np.bincount(draws.window, minlength=draws.num_windows) - self.fitted_mean
        return _float64(draws.window_nats - luck * tokens)


def _centred(rows: Floats, window: npt.NDArray[Any]) -> Floats:
    """Rows less the mean of their window's; as they are where a window has one alone."""
    counts = np.bincount(window)
    if counts.min() < 2:
        return rows
    sums = np.zeros((len(counts), *rows.shape[1:]))
    np.add.at(sums, window, rows)
    return _float64(rows - (sums / counts.reshape(-1, *[1] * (rows.ndim - 1)))[window])


def _leverage(rows: Floats) -> Floats:
    """How much each row of a regression pulls the fit towards itself, (R,) in 0 .. ``_MAX_LEVERAGE``."""
    if not rows.shape[1]:
        return np.zeros(len(rows))
    directions, lengths, _ = np.linalg.svd(rows, full_matrices=False)
    kept = directions[:, lengths > _MIN_VARIATION * lengths[0]]
    return _float64(np.minimum((kept**2).sum(axis=1), _MAX_LEVERAGE))


def _within_then_between(
    value: Floats, basis: Floats, degree: npt.NDArray[Any], window: npt.NDArray[Any], tokens: Floats, mirrored: bool
) -> tuple[Floats, tuple[int, int], Floats]:
    """Weighted least squares; with several draws a window, columns that vary within windows are fitted within them.

    What differs between windows is large, and would put its own chance into the slopes. Columns that do not vary within
    a window are fitted to what is left. ``degree`` is that of the mask rate in each column.

    Returns:
        The coefficients, how many degrees of freedom they cost within windows and besides, and the leverage of each
        draw: with several draws a window, of its difference to their mean, which has (K - 1) / K degrees of freedom of
        its own.
    """
    weight = np.sqrt(tokens[window])[:, None]
    counts = np.bincount(window)
    solution = np.zeros(basis.shape[1])
    remaining = np.arange(basis.shape[1])
    rank_within = 0
    if counts.min() < 2:
        leverage = _leverage(basis * weight)
    else:
        rows = _centred(basis, window)
        varies = np.abs(rows).max(axis=0) > _MIN_VARIATION  # roundings of a constant are not to be fitted
        if counts.max() == 2 and mirrored:  # mirrored positions leave next to nothing of even powers
            varies &= degree % 2 == 1
        varying, constant = np.flatnonzero(varies), np.flatnonzero(~varies)
        fit, _, rank_within, _ = np.linalg.lstsq(
            rows[:, varying] * weight, (_centred(value[:, None], window) * weight)[:, 0], rcond=_MIN_VARIATION
        )
        leverage = _leverage(rows[:, varying] * weight) * (counts / (counts - 1.0))[window]
        solution[varying], remaining = fit, constant
        value = value - basis[:, varying] @ fit
    fit, _, rank_between, _ = np.linalg.lstsq(basis[:, remaining] * weight, value * weight[:, 0], rcond=_MIN_VARIATION)
    solution[remaining] = fit
    return solution, (int(rank_within), int(rank_between)), _float64(np.minimum(leverage, _MAX_LEVERAGE))
