"""A bound from its draws: what it is on each window, its terms, its total and its error; float64, in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.estimators import Bound, prior_nats
from bpb_harness.evaluation.draws import DrawTable, merge_passes
from bpb_harness.evaluation.layout import Layout
from bpb_harness.statistics.repeats import PassSpread, spread_of_passes
from bpb_harness.statistics.standard_errors import (
    Draws,
    confidence_interval,
    corpus_stderr,
    few_degrees_of_freedom,
    few_grid_degrees_of_freedom,
    grid_stderr_nats,
    mc_stderr_nats,
)
from bpb_harness.text.document_pieces import DocumentPieces, Stretches
from bpb_harness.units import CodeLength, nats_to_bits

Floats = npt.NDArray[np.float64]

AGREEING = 1e-6  # relative: draws that differ by no more differ by rounding
_WINDOWS_AT_ONCE = 1024  # whose tokens are gone through


@final
@dataclass(frozen=True)
class SamplingError:
    """Standard error of a bound's total from the sampling of masks, in nats.

    Attributes:
        stderr_nats: the error of the mean over passes; NaN where nothing tells it.
        degrees_of_freedom: of a spread between passes, or of few draws, for Student's t; None where the normal law
            serves.
    """

    stderr_nats: float
    degrees_of_freedom: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything tells it."""
        return not math.isnan(self.stderr_nats)

    def interval(self, length: CodeLength) -> tuple[float, float] | None:
        """The 95 % interval of a bound, in bits per byte, or per token where no bytes are known; None: not known."""
        if not self.is_known:
            return None
        stderr = nats_to_bits(self.stderr_nats) / length.num_units
        return confidence_interval(length.bits_per_unit, stderr, degrees_of_freedom=self.degrees_of_freedom)

    def half_width_nats(self) -> float:
        """Half of the 95 % interval."""
        low, high = confidence_interval(0.0, self.stderr_nats, degrees_of_freedom=self.degrees_of_freedom)
        return (high - low) / 2.0


@final
@dataclass(frozen=True)
class SampledBound:
    """What the draws of a bound say of it.

    Attributes:
        bound: which one.
        layout: the windows.
        num_clean_tokens: ids that a clean token may have, for the prior.
        passes: the draws, a table a pass; how many was fixed without looking at them.
        stretches: whose costs the tables keep in the place of tokens'.
    """

    bound: Bound
    layout: Layout
    num_clean_tokens: int
    passes: Sequence[DrawTable]
    stretches: Stretches | None = None

    @cached_property
    def table(self) -> DrawTable:
        """All draws together."""
        return merge_passes(self.passes) if len(self.passes) > 1 else self.passes[0]

    @cached_property
    def window_nats(self) -> Floats:
        """The bound of each window, prior included, (N,)."""
        drawn = np.bincount(self.table.plan.window, weights=self._draw_nats, minlength=len(self.layout))
        return np.asarray(drawn + self._prior_nats)

    @cached_property
    def nats(self) -> float:
        """Total of all windows, rounded once."""
        return math.fsum(self.window_nats)

    @cached_property
    def terms_nats(self) -> dict[str, float]:
        """Totals of prior, diffusion and reconstruction."""
        is_reconstruction = self.bound.is_reconstruction(torch.from_numpy(self.table.plan.mask_rate)).numpy()
        return {
            "prior": math.fsum(self._prior_nats),
            "diffusion": math.fsum(self._draw_nats[~is_reconstruction]),
            "reconstruction": math.fsum(self._draw_nats[is_reconstruction]),
        }

    @cached_property
    def token_nats(self) -> Floats | None:
        """Of each token, adding up to their windows: prior and control variate are spread evenly over a window."""
        return self._with_rest(self.window_nats, self.table.token_nats)

    def nats_of(self, pieces: DocumentPieces) -> Floats | None:
        """Likewise of pieces of spans, (P,), the same bits whether tokens or stretches are kept; None: neither is."""
        kept = [table.token_nats for table in self.passes if table.token_nats is not None]
        if not kept:
            return None
        drawn = np.sum([pieces.of_tokens(nats, self.stretches) for nats in kept], axis=0) / len(kept)
        missing = self.window_nats - np.bincount(pieces.span, weights=drawn, minlength=len(self.layout))
        return np.asarray(drawn + missing[pieces.span] * (pieces.lengths / self.layout.lengths[pieces.span]))

    def each_pass(self) -> list[tuple[Floats, Floats | None]]:
        """What each pass alone says of windows and tokens, (N,) and (number of tokens,); their mean is what all say."""
        plan, count = self.table.plan, len(self.passes)
        which = plan.sample // (1 + max(int(table.plan.sample.max()) for table in self.passes))
        found = []
        for index, table in enumerate(self.passes):
            rows = which == index
            drawn = np.bincount(plan.window[rows], weights=self._draw_nats[rows], minlength=len(self.layout))
            window_nats = count * drawn + self._prior_nats
            found.append((window_nats, self._with_rest(window_nats, table.token_nats)))
        return found

    def _with_rest(self, window_nats: Floats, token_nats: Floats | None) -> Floats | None:
        """Tokens that add up to their windows: what they lack is spread evenly; None where they are not kept each."""
        if token_nats is None or self.stretches is not None:
            return None
        lengths = self.layout.lengths
        ends, whole = np.cumsum(lengths), np.empty_like(token_nats)
        for some in np.split(np.arange(len(lengths)), range(_WINDOWS_AT_ONCE, len(lengths), _WINDOWS_AT_ONCE)):
            if not len(some):
                continue
            tokens = slice(int(ends[some[0]] - lengths[some[0]]), int(ends[some[-1]]))
            window = np.repeat(np.arange(len(some)), lengths[some])
            missing = window_nats[some] - np.bincount(window, weights=token_nats[tokens], minlength=len(some))
            whole[tokens] = token_nats[tokens] + (missing / lengths[some])[window]
        return whole

    @cached_property
    def draws(self) -> Draws:
        """The draws as the error estimators take them: each an unbiased estimate of its window's bound alone."""
        plan, lengths = self.table.plan, self.layout.lengths
        length = lengths[plan.window]
        alpha_end_nats = prior_nats(self.bound.schedule, 1, self.num_clean_tokens) * length
        value_nats = alpha_end_nats + self.bound.schedule.max_mask_rate * length * self.table.nats_per_masked
        return Draws(
            window=plan.window, sample=plan.sample, v=plan.position, value_nats=value_nats, level=plan.mask_rate,
            difficulty=self.layout.difficulty.astype(np.float64), num_tokens=lengths, num_bytes=self.layout.num_units,
            level_at=self._rates_at,
        ).parted(plan.num_replicates)  # fmt: skip

    def _rates_at(self, v: Floats) -> Floats:
        return self.bound.mask_rate(torch.from_numpy(v)).numpy()

    @cached_property
    def spread(self) -> PassSpread:
        """How far its passes differ."""
        return spread_of_passes(self.draws, len(self.passes), self.grid_shares)

    @cached_property
    def span_variances(self) -> Floats:
        """Of each span's own estimate, (N,) nats squared, where its draws are independent.

        Draws at independent rates show it themselves: their sample variance over K. It is 0 where all masks were gone
        through, and NaN of a single draw. The control variate's coefficient comes from other spans, so that it changes
        nothing of this.
        """
        plan = self.table.plan
        assert plan.is_independent
        drawn, count = plan.is_drawn, len(self.layout)
        window, value = plan.window[drawn], self.draws.value_nats[drawn]
        draws = np.bincount(window, minlength=count)
        mean = np.bincount(window, weights=value, minlength=count) / np.maximum(draws, 1)
        squares = np.bincount(window, weights=(value - mean[window]) ** 2, minlength=count)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares / (draws - 1.0) / draws
        return np.where(draws == 0, 0.0, variance)

    @cached_property
    def error(self) -> SamplingError:
        """How far the mean over passes is from the bound, had every mask been tried.

        Passes are independent, so several show their error themselves; of a single one it is estimated from within,
        or is that of spans which are independent of one another.
        """
        if self.table.plan.is_independent:
            assert self.bound.num_samples != "all"
            if self._draws_agree:
                return SamplingError(math.nan)
            return error_of_parts(self.span_variances, self.bound.num_samples)
        if len(self.passes) > 1:
            degrees = self.spread.degrees_of_freedom
            return SamplingError(math.sqrt(self.spread.variance), None if math.isinf(degrees) else degrees)
        if self.bound.num_samples != "all":
            return SamplingError(mc_stderr_nats(self.draws), few_degrees_of_freedom(self.draws))
        assert self.grid_shares is not None
        error = grid_stderr_nats(self.draws, self.grid_shares)
        return SamplingError(error, few_grid_degrees_of_freedom(self.draws))

    @property
    def _draws_agree(self) -> bool:
        """Whether draws of every span agree, of which another mask could cost something else: they may have met one.

        A single token is hidden by one mask alone. Of some spans that agree beside others that do not, the sum of all
        variances is right on average.
        """
        plan = self.table.plan
        drawn = np.bincount(plan.window[plan.is_drawn], minlength=len(self.layout)) > 0
        drawn &= self.layout.lengths > 1
        nats = math.fsum(np.abs(self.window_nats[drawn]))
        return bool(drawn.any()) and math.sqrt(math.fsum(self.span_variances)) <= AGREEING * nats

    @property
    def corpus_stderr(self) -> float:
        """Standard error over the choice of windows, in bits per unit."""
        if self.table.plan.is_independent:
            noise = self.error.stderr_nats**2
            return corpus_stderr(known_nats(self.layout, self.window_nats), noise) if self.error.is_known else math.nan
        if self.bound.num_samples == "all":  # every step is looked at, so that none varies from draw to draw
            return corpus_stderr(known_nats(self.layout, self.window_nats))
        return corpus_stderr(self.draws)

    @cached_property
    def _draw_nats(self) -> Floats:
        plan = self.table.plan
        return np.asarray(plan.weight * self.layout.lengths[plan.window] * self.table.nats_per_masked)

    @cached_property
    def _prior_nats(self) -> Floats:
        each, which = np.unique(self.layout.lengths, return_inverse=True)
        return np.array([prior_nats(self.bound.schedule, int(length), self.num_clean_tokens) for length in each])[which]

    @property
    def grid_shares(self) -> Floats | None:
        """Each draw's share of its window's bound within its pass, where every node of a grid is looked at."""
        if self.bound.num_samples != "all":
            return None
        return np.asarray(self.table.plan.weight * (len(self.passes) / self.bound.schedule.max_mask_rate))


def known_nats(layout: Layout, window_nats: Floats) -> Draws:
    """Windows whose nats are known, to the error over their choice."""
    index = np.arange(len(layout))
    return Draws(
        window=index, sample=np.zeros_like(index), v=np.full(len(index), 0.5), value_nats=window_nats,
        difficulty=window_nats, num_tokens=layout.lengths, num_bytes=layout.num_units,
    )  # fmt: skip


def error_of_parts(variances: Floats, num_samples: int) -> SamplingError:
    """The error of a sum of independent estimates, each of whose variances K draws have shown (MATHS.md, equation 31).

    Degrees of freedom after Welch and Satterthwaite: variances of few draws are themselves uncertain.

    Args:
        variances: of each, nats squared; 0 where nothing was drawn, NaN of a single draw.
        num_samples: K.
    """
    total, squares = math.fsum(variances), math.fsum(variances**2)
    if math.isnan(total) or squares == 0.0:
        return SamplingError(math.sqrt(total))
    return SamplingError(math.sqrt(total), (num_samples - 1) * total**2 / squares)


def enumeration_error(variance: Floats | None, squared_variances: Floats | None, num_samples: int) -> SamplingError:
    """The error of an enumeration whose noise levels were drawn, K a mask (MATHS.md, equation 25).

    Args:
        variance: of each window, (N,) nats squared; None where nothing was drawn.
        squared_variances: of each window, the sum of the squares of what its masks add to that, (N,).
        num_samples: K.
    """
    if variance is None or squared_variances is None:
        return SamplingError(0.0)
    total, squares = math.fsum(variance), math.fsum(squared_variances)
    if squares == 0.0:
        return SamplingError(0.0)
    return SamplingError(math.sqrt(total), (num_samples - 1) * total**2 / squares)
