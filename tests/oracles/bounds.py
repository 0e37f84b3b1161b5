"""Both bounds by enumeration of every mask, in the order of the derivation: over time, not over the mask rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from scipy.integrate import quad

from tests.oracles.conditionals import Conditionals
from tests.oracles.schedules import Schedule

Tokens = tuple[int, ...]
Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Terms:
    """The three terms of a bound, in nats."""

    prior: float
    reconstruction: float
    diffusion: float

    @property
    def total(self) -> float:
        return self.prior + self.reconstruction + self.diffusion


def all_masks(length: int) -> Iterator[Mask]:
    """Every subset of the positions, as flags."""
    return itertools.product((False, True), repeat=length)


def masked_nats(model: Conditionals, x: Tokens, mask: Mask, u: float) -> float:
    """C(x, M; t): the sum over masked positions of -log p(x_i | visible)."""
    window = tuple(None if hidden else token for token, hidden in zip(x, mask, strict=True))
    rows = model.log_probs(window, u)
    return math.fsum(-rows[i][x[i]] for i, hidden in enumerate(mask) if hidden)


def expected_nats(model: Conditionals, x: Tokens, u: float) -> float:
    """E over Bernoulli(u) masks of C(x, M; t)."""
    return math.fsum(
        u ** sum(mask) * (1 - u) ** (len(x) - sum(mask)) * masked_nats(model, x, mask, u) for mask in all_masks(len(x))
    )


def mean_masked_nll(model: Conditionals, x: Tokens, u: float) -> float:
    """f(u) = E[C] / (u L), nats per token; at u = 0 its limit, the mean over single masks."""
    if u == 0:
        single = [tuple(i == j for j in range(len(x))) for i in range(len(x))]
        return math.fsum(masked_nats(model, x, mask, 0.0) for mask in single) / len(x)
    return expected_nats(model, x, u) / (u * len(x))


def continuous_bound(model: Conditionals, x: Tokens, schedule: Schedule) -> Terms:
    """NELBO(x): the integral over t in (0, 1) of -dalpha / (1 - alpha) E[C], beside prior and reconstruction."""

    def over_time(t: float) -> float:
        u = schedule.mask_rate(t)
        return -schedule.dalpha(t) / u * expected_nats(model, x, u)

    def over_rate(u: float) -> float:
        return expected_nats(model, x, u) / u if u > 0 else len(x) * mean_masked_nll(model, x, 0.0)

    # A schedule whose derivative has no limit at 0 is integrated over its rate instead: the same number.
    steep = not math.isfinite(schedule.dalpha(0.0)) or abs(schedule.dalpha(1e-12)) > 1e3
    if steep:
        value, _ = quad(over_rate, schedule.u_min, schedule.u_max, epsabs=1e-13, epsrel=1e-12, limit=400)
    else:
        value, _ = quad(over_time, 0.0, 1.0, epsabs=1e-13, epsrel=1e-12, limit=400)
    return Terms(_prior(model, x, schedule), _reconstruction(model, x, schedule), value)


def t_step_bound(model: Conditionals, x: Tokens, schedule: Schedule, num_steps: int) -> Terms:
    """NELBO_T(x): each step reveals a masked token with chance (u_i - u_{i-1}) / u_i and sees masks of rate u_i."""
    u = [schedule.mask_rate(i / num_steps) for i in range(num_steps + 1)]
    diffusion = math.fsum((u[i] - u[i - 1]) / u[i] * expected_nats(model, x, u[i]) for i in range(1, num_steps + 1))
    return Terms(_prior(model, x, schedule), _reconstruction(model, x, schedule), diffusion)


def _prior(model: Conditionals, x: Tokens, schedule: Schedule) -> float:
    return schedule.alpha(1.0) * len(x) * math.log(model.vocab_size)


def _reconstruction(model: Conditionals, x: Tokens, schedule: Schedule) -> float:
    return expected_nats(model, x, schedule.u_min) if schedule.u_min > 0 else 0.0
