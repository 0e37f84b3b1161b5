"""From a table of draws to a bound on each window, its terms and its total; float64, in a fixed order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.estimators import Bound, prior_nats
from bpb_harness.evaluate.draws import DrawTable
from bpb_harness.statistics import Draws, grid_stderr_nats, mc_stderr_nats


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
    length = num_tokens[table.plan.window]
    alpha_end_nats = prior_nats(bound.schedule, 1, num_clean_tokens) * length
    return Draws(
        window=table.plan.window,
        sample=table.plan.sample,
        v=table.plan.position,
        value_nats=alpha_end_nats + bound.schedule.max_move_chance * length * table.nats_per_masked,
        difficulty=difficulty.astype(np.float64),
        num_tokens=num_tokens,
        num_bytes=num_bytes,
        level=table.plan.move_chance,
    )


def sampling_stderr_nats(bound: Bound, table: DrawTable, draws: Draws) -> float:
    """Standard error of the bound's total from the sampling of masks, in nats."""
    if bound.num_samples == "all":
        return grid_stderr_nats(draws, table.plan.weight / bound.schedule.max_move_chance)
    return mc_stderr_nats(draws)
