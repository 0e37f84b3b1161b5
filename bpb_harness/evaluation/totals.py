"""From a table of draws to a bound on each window, its terms and its total; float64, in a fixed order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.estimators import Bound, prior_nats
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.statistics.repeats import spread_of_passes
from bpb_harness.statistics.standard_errors import Draws, confidence_interval, grid_stderr_nats, mc_stderr_nats
from bpb_harness.units import CodeLength, nats_to_bits

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class WindowTotals:
    """The bound of each window and the terms of the whole.

    Attributes:
        window_nats: (N,) float64, prior included.
        terms_nats: totals of prior, diffusion, reconstruction.
    """

    window_nats: npt.NDArray[np.float64]
    terms_nats: dict[str, float]

    @property
    def nats(self) -> float:
        """Total of all windows, rounded once."""
        return math.fsum(self.window_nats)


def window_totals(
    bound: Bound, table: DrawTable, num_tokens: npt.NDArray[np.int64], num_clean_tokens: int
) -> WindowTotals:
    """Add up the draws of each window.

    Args:
        bound: which bound the draws belong to.
        table: one row a draw.
        num_tokens: L of each window, (N,).
        num_clean_tokens: ids that a clean token may have, for the prior.
    """
    draw_nats = table.plan.weight * num_tokens[table.plan.window] * table.nats_per_masked
    reconstruction = bound.is_reconstruction(torch.from_numpy(table.plan.move_chance)).numpy()
    prior = np.array([prior_nats(bound.schedule, int(length), num_clean_tokens) for length in num_tokens])
    window_nats = np.bincount(table.plan.window, weights=draw_nats, minlength=len(num_tokens)) + prior
    terms = {
        "prior": math.fsum(prior),
        "diffusion": math.fsum(draw_nats[~reconstruction]),
        "reconstruction": math.fsum(draw_nats[reconstruction]),
    }
    return WindowTotals(window_nats, terms)


def as_statistics(
    bound: Bound,
    table: DrawTable,
    num_tokens: npt.NDArray[np.int64],
    num_bytes: npt.NDArray[np.int64],
    difficulty: npt.NDArray[np.int64],
    num_clean_tokens: int,
) -> Draws:
    """The same draws as the error estimators take them: each an unbiased estimate of its window's bound alone."""
    plan, length = table.plan, num_tokens[table.plan.window]
    alpha_end_nats = prior_nats(bound.schedule, 1, num_clean_tokens) * length
    value_nats = alpha_end_nats + bound.schedule.max_move_chance * length * table.nats_per_masked

    def draws(rows: slice, replicates: Draws | None) -> Draws:
        return Draws(
            window=plan.window[rows], sample=plan.sample[rows], v=plan.position[rows], value_nats=value_nats[rows],
            difficulty=difficulty.astype(np.float64), num_tokens=num_tokens, num_bytes=num_bytes,
            level=plan.move_chance[rows], replicates=replicates,
        )  # fmt: skip

    replicates = draws(slice(plan.num_weighed, None), None) if plan.num_replicates else None
    return draws(slice(plan.num_weighed), replicates)


@final
@dataclass(frozen=True)
class SamplingError:
    """Standard error of a bound's total from the sampling of masks, in nats.

    Attributes:
        stderr_nats: the error of the mean over passes.
        degrees_of_freedom: of a spread between passes, for Student's t; None where the normal law serves.
    """

    stderr_nats: float
    degrees_of_freedom: float | None = None

    def interval(self, length: CodeLength) -> tuple[float, float]:
        """The 95 % interval of a bound, in bits per byte, or per token where no bytes are known."""
        stderr = nats_to_bits(self.stderr_nats) / length.num_units
        return confidence_interval(length.bits_per_unit, stderr, degrees_of_freedom=self.degrees_of_freedom)

    def half_width_nats(self) -> float:
        """Half of the 95 % interval."""
        low, high = confidence_interval(0.0, self.stderr_nats, degrees_of_freedom=self.degrees_of_freedom)
        return (high - low) / 2.0


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


def grid_shares(bound: Bound, table: DrawTable, num_passes: int) -> Floats | None:
    """Each draw's share of its window's bound within its pass, where every node of a grid is looked at; else None."""
    if bound.num_samples != "all":
        return None
    return np.asarray(table.plan.weight * (num_passes / bound.schedule.max_move_chance))


def sampling_error(bound: Bound, table: DrawTable, draws: Draws, num_passes: int) -> SamplingError:
    """How far the mean over passes is from the bound, had every mask been tried.

    Passes are independent, so several show their error themselves; of a single one it is estimated from within.

    Args:
        bound: which bound it is.
        table: the draws of all passes.
        draws: the same as the error estimators take them.
        num_passes: how many; fixed without looking at these draws.
    """
    shares = grid_shares(bound, table, num_passes)
    if num_passes > 1:
        spread = spread_of_passes(draws, num_passes, shares)
        degrees = None if math.isinf(spread.degrees_of_freedom) else spread.degrees_of_freedom
        return SamplingError(math.sqrt(spread.variance), degrees)
    return SamplingError(mc_stderr_nats(draws) if shares is None else grid_stderr_nats(draws, shares))
