"""Means of estimators, right and wrong, as sums over masks.

The mean of an estimator that draws a time, masks tokens and weighs the masked cross-entropies is

    offset + sum over times t_j and masks M of coefficients[j, M] * C(x, M; told_j).

A formula holds these coefficients. The bound itself is one of them (MATHS.md, equations 4 to 6); every mistake that the
kit knows is another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.schedule import NoiseSchedule
from bpb_harness.testing.probes import Costs, Probe

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class Formula:
    """A mean as a linear function of costs.

    Attributes:
        told: (J,) the times that the denoiser is told.
        coefficients: (J, 2^L).
        offset_nats: what does not depend on the denoiser: the prior term.
    """

    told: Floats
    coefficients: Floats
    offset_nats: float = 0.0

    def mean_nats(self, probe: Probe, costs: Costs = "exact") -> Floats:
        """The mean for each window of a probe, (B,) nats."""
        table = probe.masked_costs(self.told, costs)
        if len(table) == 1:
            return np.asarray(table[0] @ self.coefficients.sum(axis=0) + self.offset_nats, dtype=np.float64)
        return np.asarray(np.einsum("jbm,jm->b", table, self.coefficients) + self.offset_nats, dtype=np.float64)

    def times(self, factor: float) -> Formula:
        """The same mean in another unit."""
        return Formula(self.told, self.coefficients * factor, self.offset_nats * factor)

    def __add__(self, other: Formula) -> Formula:
        return Formula(
            np.concatenate([self.told, other.told]),
            np.concatenate([self.coefficients, other.coefficients]),
            self.offset_nats + other.offset_nats,
        )


def counts_of_masks(length: int) -> Floats:
    """|M| of every mask, (2^L,)."""
    return np.array([code.bit_count() for code in range(1 << length)], dtype=np.float64)


def bernoulli(rates: Floats, length: int) -> Floats:
    """Probability of every mask when each token is masked with chance ``rates[j]``, (J, 2^L)."""
    counts = counts_of_masks(length)
    return np.asarray(rates[:, None] ** counts * (1.0 - rates[:, None]) ** (length - counts), dtype=np.float64)


def rate_of_single_masks(rates: Floats, length: int) -> Floats:
    """Chance that exactly one of L tokens is masked, each with chance ``rates[j]``, (J,)."""
    return np.asarray(length * rates * (1.0 - rates) ** (length - 1), dtype=np.float64)


def rate(schedule: NoiseSchedule, times: Floats) -> Floats:
    """Mask rates u(t)."""
    return np.asarray(schedule.mask_rate(torch.from_numpy(times)).numpy(), dtype=np.float64)


def rate_slope(schedule: NoiseSchedule, times: Floats) -> Floats:
    """du/dt = -dalpha/dt."""
    return np.asarray(schedule.dmask_rate(torch.from_numpy(times)).numpy(), dtype=np.float64)


@cache
def gauss(count: int) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss and Legendre for integrals over (-1, 1)."""
    node, weight = np.polynomial.legendre.leggauss(count)
    return node, weight


def time_nodes() -> tuple[Floats, Floats]:
    """Nodes and weights for integrals over t in (0, 1), dense towards both ends, where wrong weights diverge."""
    edges = np.concatenate([[0.0], 2.0 ** -np.arange(40, 0, -1.0)])
    node, weight = gauss(6)
    low, high = edges[:-1, None], edges[1:, None]
    left = (low + (high - low) * (node + 1.0) / 2.0).ravel()
    weights = ((high - low) * weight / 2.0).ravel()
    return np.concatenate([left, 1.0 - left]), np.concatenate([weights, weights])


def over_rates(schedule: NoiseSchedule, length: int, rates: Floats, weights: Floats) -> Formula:
    """Sum over j of weights[j] E[C] / u_j, masks of rate u_j; exact at u_j = 0 too, where single masks remain."""
    counts = counts_of_masks(length)
    column = rates[:, None]
    per_rate = np.where(counts > 0, column ** np.maximum(counts - 1, 0) * (1 - column) ** (length - counts), 0.0)
    told = schedule.time(torch.from_numpy(rates)).numpy()
    return Formula(np.asarray(told, dtype=np.float64), weights[:, None] * per_rate)


def prior(schedule: NoiseSchedule, length: int, vocab_size: int) -> Formula:
    """alpha(1) L ln V: MATHS.md, equation 6."""
    empty = np.zeros((1, 1 << length))
    return Formula(np.zeros(1), empty, (1.0 - schedule.max_mask_rate) * length * math.log(vocab_size))


def reconstruction(schedule: NoiseSchedule, length: int) -> Formula:
    """E[C] at t = 0, which is nothing where alpha(0) = 1."""
    lowest = np.array([schedule.min_mask_rate])
    return Formula(np.zeros(1), bernoulli(lowest, length))


def diffusion(schedule: NoiseSchedule, length: int, num_steps: int | None) -> Formula:
    """The diffusion term: the integral over the mask rate, or its sum over T steps."""
    if num_steps is None:
        node, weight = gauss(64)
        r = (node + 1.0) / 2.0
        # Smooth for every schedule: t(u) of a cosine is steep at an end, u(t) of a power below 1 at 0.
        times = r**2 * (3.0 - 2.0 * r)
        weights = weight * 3.0 * r * (1.0 - r) * rate_slope(schedule, times)
        return over_rates(schedule, length, rate(schedule, times), weights)
    grid = schedule.grid(num_steps).numpy()
    return over_rates(schedule, length, grid[1:], np.diff(grid))


def bound(schedule: NoiseSchedule, length: int, vocab_size: int, num_steps: int | None) -> Formula:
    """The bound that a correct estimator has as its mean: NELBO, or NELBO_T."""
    return (
        diffusion(schedule, length, num_steps) + reconstruction(schedule, length) + prior(schedule, length, vocab_size)
    )


def drawn_times(schedule: NoiseSchedule, num_steps: int | None) -> tuple[Floats, Floats, Floats, Floats]:
    """What the textbook estimator draws: t uniform on (0, 1) or on the T steps, masks of rate u(t).

    Returns:
        Times, their chances, mask rates, and the weight w of C; (J,) each. The sum of chance * w * E[C] is the
        diffusion term.
    """
    if num_steps is None:
        times, chance = time_nodes()
        rates = rate(schedule, times)
        return times, chance, rates, rate_slope(schedule, times) / rates
    times = np.arange(1, num_steps + 1) / num_steps
    grid = schedule.grid(num_steps).numpy()
    return times, np.full(num_steps, 1.0 / num_steps), grid[1:], num_steps * np.diff(grid) / grid[1:]


def mean_excess_of_independent_times(
    probe: Probe, schedule: NoiseSchedule, num_steps: int | None, top: Floats
) -> Floats:
    """How heavy an upper tail may be: E[max(X - top, 0)] of each window, X = w(t) C with independent times.

    ``top`` is (n,), of the first n windows; so is the answer.
    """
    length = probe.x0.shape[1]
    times, chance, rates, weight = drawn_times(schedule, num_steps)
    per_mask = chance[:, None] * bernoulli(rates, length)
    costs = probe.masked_costs(times)[:, : len(top)]
    excess = np.maximum(weight[:, None, None] * costs - top[None, :, None], 0.0)
    return np.asarray(np.einsum("jbm,jm->b", excess, per_mask))
