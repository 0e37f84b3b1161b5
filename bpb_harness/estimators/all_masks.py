"""All masks of a short span in place of a sample of them: what a sampled bound estimates, as a finite sum.

The weight of a mask of k of L targets is the integral of u^(k-1) (1 - u)^(L-k) over the rates of the bound, or the sum
over its grid (MATHS.md, equation 23). A network that is told the noise level is asked about each mask at each rate: a
finite sum for the T-step bound alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.estimators.bound import Bound
from bpb_harness.estimators.exact import MAX_EXACT_LENGTH, size_weights, truncated_beta
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.sampling.design import mask_bits
from bpb_harness.sampling.streams import RandomStreams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class AllMasks:
    """The masks of a span of L targets that weigh anything; (n,) each.

    Attributes:
        masks: bit i is set where target i is masked, int64.
        num_masked: k, int64.
        weight: what C(x, M; t) is multiplied with in the bound, float64.
        mask_rate: u at which the network is asked, float64; NaN where that is any rate of the diffusion term.
    """

    masks: Ints
    num_masked: Ints
    weight: Floats
    mask_rate: Floats

    def __len__(self) -> int:
        return len(self.masks)

    def rates(self, bound: Bound, length: int, streams: RandomStreams, span: int) -> Floats:
        """The rate that the network is told with each mask, (n,).

        One that ignores it is told another one with each: should it be wrong that it does, no single rate decides.
        """
        low, high = bound.schedule.min_mask_rate, bound.schedule.max_mask_rate
        drawn = truncated_beta(streams.level_noise(span, 0, len(self)), self.num_masked, length, low, high)
        return np.where(np.isnan(self.mask_rate), drawn, self.mask_rate)


def all_masks_of(bound: Bound, length: int, *, time_conditioned: bool, most: int) -> AllMasks | None:
    """All masks of a span; None where they are more than ``most``, or not a finite sum.

    Args:
        bound: the sampled bound.
        length: L, targets of the span.
        time_conditioned: whether the network is told the noise level.
        most: so many calls are not more than sampling takes.
    """
    is_continuous = isinstance(bound, ContinuousBound)
    if length > MAX_EXACT_LENGTH or (time_conditioned and is_continuous):
        return None
    rates, by_size = _of_continuous(bound, length) if is_continuous else _of_grid(bound, length)
    if not time_conditioned and not is_continuous:
        rates, by_size = _at_any_rate(bound, rates, by_size)
    masks = np.arange(1, 1 << length)
    count = mask_bits(masks, length).sum(axis=1)
    if int((by_size > 0.0).sum(axis=0) @ np.bincount(count)[1:]) > most:
        return None
    which_rate, mask = np.nonzero(by_size[:, count - 1])
    return AllMasks(masks[mask], count[mask], by_size[which_rate, count[mask] - 1], rates[which_rate])


def _of_continuous(bound: Bound, length: int) -> tuple[Floats, Floats]:
    """Rates, and what a mask of each size weighs at each: reconstruction at u_0, the rest at any, (R,) and (R, L)."""
    low, high = bound.schedule.min_mask_rate, bound.schedule.max_mask_rate
    size = np.arange(1.0, length + 1.0)
    at_low = low**size * (1.0 - low) ** (length - size)
    return np.array([low, np.nan]), np.stack([at_low, size_weights(size, length, low, high)])


def _of_grid(bound: Bound, length: int) -> tuple[Floats, Floats]:
    """The same at every rate of the T-step bound, (T,) or (T + 1,), and (T, L)."""
    rates, weights = (part.numpy() for part in bound.nodes())
    size = np.arange(1.0, length + 1.0)
    at_rates = weights[:, None] * rates[:, None] ** (size - 1.0) * (1.0 - rates[:, None]) ** (length - size)
    return rates, at_rates


def _at_any_rate(bound: Bound, rates: Floats, by_size: Floats) -> tuple[Floats, Floats]:
    """For a network that is not told the rate: reconstruction, and all other rates as one."""
    low = rates <= bound.schedule.min_mask_rate
    return np.array([bound.schedule.min_mask_rate, np.nan]), np.stack(
        [by_size[low].sum(axis=0), by_size[~low].sum(axis=0)]
    )
