"""Where an estimator is worth a closer look: properties of single draws, found without statistics.

None of them is a verdict. A correct estimator may be nonlinear in the costs (importance weights fitted on other
draws), may let rows depend on each other (a control variate fitted on the other rows) and may have bounded weights
(times drawn by a warped law). They only choose the denoisers on which the mean is measured again, with draws of their
own, so the false-alarm rate knows nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.testing.formula import drawn_times, prior, rate_of_single_masks
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.probes import CountProbe, MaskProbe, OutlyingRowProbe, Probe, all_masks
from bpb_harness.testing.runs import Estimator, Run, unusable
from bpb_harness.testing.watch import WatchedDenoiser

Floats = npt.NDArray[np.float64]

NONLINEAR = (
    "nonlinear in the costs: large and rare ones are not paid in proportion (the median or the best of several draws, "
    "losses that are capped or smoothed)"
)
FITTED = "fitted to the batch's own draws: the mean of a row depends on the other rows and on their number"
SIZED = (
    "the mean depends on the size of the batch, as where weights are normalised by their own sum: a ratio of two means "
    "has not their ratio as its mean"
)

_CALLS = 25
_SAME = 1e-3  # relative: float32 sums in another order, not another estimate
_WEIGHT_ROWS, _WEIGHT_CALLS = 3000, 20
_EXPECTED_ABOVE = 8.0  # none seen where so many are expected: a chance of 3e-4 with independent times
_FEW_VALUES = 50
_COUPLED = 0.3  # of the variance of a batch's mean; a variance from n calls is off by sqrt(2 / n)
_MAX_ROWS = 2.5  # rows of a denoiser for an estimate: on windows of some hundred tokens more take too long


@final
@dataclass(frozen=True)
class BoundedWeight:
    """Weights that vary from draw to draw and stay below what independent times reach.

    Attributes:
        largest: the largest weight seen.
        reached: what several of as many independent times would have exceeded.
    """

    largest: float
    reached: float

    @property
    def in_words(self) -> str:
        """The diagnosis, where the mean turns out wrong."""
        return f"clipped weight: none above {self.largest:.4g}, and what is cut off is a part of the bound"


@final
@dataclass(frozen=True)
class Suspicions:
    """What is unusual about an estimator.

    Attributes:
        nonlinear: the estimates for costs C1 + C2 are not the sum of those for C1 and for C2, draw for draw.
        dependent: the estimate of a row changes with the texts of other rows.
        coupled: the estimates of a batch go with or against each other.
        bounded: the largest weight, where weights are bounded, or None.
        unbounded: weights vary, and nothing says that they are bounded; single draws a row.
    """

    nonlinear: bool = False
    dependent: bool = False
    coupled: bool = False
    bounded: BoundedWeight | None = None
    unbounded: bool = False


def find_suspicions(estimate_nats: Estimator, setting: Setting, runs: list[Run], seed: int) -> Suspicions:
    """Look at single draws of an estimator that has been run on all denoisers of a check."""
    weights = single_weights(estimate_nats, setting, runs[0], seed)
    bounded = bounded_weight(setting, weights, setting.length)
    vary = weights.vary and weights.rows_per_estimate < _MAX_ROWS
    return Suspicions(
        nonlinear=is_nonlinear(estimate_nats, runs[0].probe, seed),
        dependent=rows_depend(estimate_nats, runs[-1].probe, len(setting.special_positions), seed),
        coupled=rows_go_together(runs) != 0,
        bounded=bounded,
        unbounded=vary and bounded is None,
    )


@final
@dataclass(frozen=True, eq=False)
class CostTableProbe(MaskProbe):
    """Charges what a table says, mask by mask.

    Attributes:
        costs: (2^L,) nats of every masked token under that mask.
    """

    costs: Tensor

    @cached_property
    def logits_of_mask(self) -> Tensor:
        """log(1 + (V - 1) e^-x) nats for a token whose logit is x above the others, (2^L, L, V)."""
        text, masks = self.x0[0], all_masks(self.x0.shape[1])
        above = -torch.log(torch.expm1(self.costs.clamp(min=1e-17)) / (self.vocab_size - 1))
        answer = torch.where(masks, text, (text + 1) % self.vocab_size)
        return above[:, None, None] * torch.nn.functional.one_hot(answer, self.vocab_size).double()


def is_nonlinear(estimate_nats: Estimator, like: Probe, seed: int) -> bool:
    """Whether Y(C1 + C2) - Y(C1) - Y(C2) + Y(0) differs from 0 in any of a few draws from equal generators.

    C1 and C2 charge for different masks as well as for the same ones, so that an order statistic cannot be additive;
    C1 stays below 3 nats a token and C2 above 25, so that neither can a function that bends between them.
    """
    table = torch.Generator().manual_seed(seed)
    masks = 1 << like.x0.shape[1]
    low = torch.rand(masks, generator=table, dtype=torch.float64) * 2.5 + 0.5
    high = torch.rand(masks, generator=table, dtype=torch.float64) * 50.0 + 25.0
    low[torch.rand(masks, generator=table) < 0.3] = 0.0
    high[torch.rand(masks, generator=table) < 0.5] = 0.0
    probes = [
        CostTableProbe("", like.x0, like.vocab_size, like.mask_column, costs=costs)
        for costs in (low + high, low, high, torch.zeros_like(low))
    ]
    both, first, second, none = (_draws(estimate_nats, probe, seed) for probe in probes)
    size = np.abs(both) + np.abs(first) + np.abs(second) + np.abs(none)
    return bool((np.abs(both - first - second + none) > _SAME * size + 1e-6 * size.max()).any())


def rows_depend(estimate_nats: Estimator, probe: Probe, num_special: int, seed: int) -> bool:
    """Whether an estimate changes where the texts of other rows do, in any of a few draws from equal generators.

    Two thirds of the rows change; then all but one, from texts that cost nothing to one that costs 40 nats a token.
    """
    others = torch.arange(len(probe.x0)) % 3 != 0
    texts = probe.x0.clone()
    texts[others, num_special:] = (texts[others, num_special:] + 1) % probe.vocab_size
    outlying = OutlyingRowProbe.beside(probe, num_special)
    alike = replace(outlying, x0=outlying.x0[:1].repeat(len(outlying.x0), 1))
    for one, other, kept in (
        (probe, replace(probe, x0=texts), ~others.numpy()),
        (outlying, alike, np.arange(len(others)) == 0),
    ):
        before, after = (_draws(estimate_nats, each, seed)[:, kept] for each in (one, other))
        if bool((np.abs(after - before) > _SAME * np.abs(before) + 1e-6 * before.max()).any()):
            return True
    return False


@final
@dataclass(frozen=True, eq=False)
class SingleWeights:
    """What an estimator pays for masks of a single token, in units of the token's cost.

    Attributes:
        weights: of all draws, 0 where another number of tokens was masked.
        rows_per_estimate: rows of the denoiser that an estimate is a mean over.
    """

    weights: Floats
    rows_per_estimate: float = 1.0

    @cached_property
    def vary(self) -> bool:
        """Whether weights differ from draw to draw."""
        return len(np.unique(np.round(self.weights, 6))) >= _FEW_VALUES


def single_weights(estimate_nats: Estimator, setting: Setting, single: Run, seed: int) -> SingleWeights:
    """Weights drawn on ``single``, which has been run: the denoiser that charges for masks of one token alone."""
    rows_per_estimate = max(single.denoise.num_rows / max(single.estimates.size, 1), 1.0)
    batch = max(int(_WEIGHT_ROWS / rows_per_estimate), len(single.probe.x0))
    probe = replace(single.probe, x0=single.probe.x0[:1].expand(batch, -1).contiguous())
    assert isinstance(probe, CountProbe)
    nats = _draws(estimate_nats, probe, seed, _WEIGHT_CALLS)
    offset = prior(setting.schedule, setting.length, setting.vocab_size).offset_nats
    # An estimate that is a mean over several draws holds each weight divided by their number.
    return SingleWeights((nats - offset) / np.log(setting.vocab_size) * rows_per_estimate, rows_per_estimate)


def bounded_weight(setting: Setting, drawn: SingleWeights, length: int) -> BoundedWeight | None:
    """The largest weight of a mask of one of L tokens, if weights vary and none is as large as several should be."""
    if not drawn.vary:
        return None
    _, chance, rates, weight = drawn_times(setting.schedule, setting.num_steps)
    order = np.argsort(-weight)
    per_draw = np.cumsum((chance * rate_of_single_masks(rates, length))[order])
    enough = np.flatnonzero(per_draw * drawn.weights.size * drawn.rows_per_estimate >= _EXPECTED_ABOVE)
    if not len(enough):
        return None
    largest, reached = float(drawn.weights.max()), float(weight[order][enough[0]])
    return BoundedWeight(largest, reached) if largest < reached * (1.0 - _SAME) else None


def rows_go_together(runs: list[Run]) -> int:
    """1 where the estimates of a batch go up and down together (one time, one mask for several rows), -1 where they
    go against each other (strata, weights with a fixed sum), 0 where neither is seen.
    """
    against = False
    for run in runs:
        bounded = np.minimum(run.estimates, 3.0 * run.exact) if not run.is_constant else np.zeros((0, 0))
        if bounded.size == 0:
            continue
        batch, each = bounded.shape[1], float(bounded.var(axis=0, ddof=1).mean())
        together = float(bounded.mean(axis=1).var(ddof=1)) * batch / each if each > 0 else 1.0
        by_chance = max(_COUPLED, 5.0 * (2.0 / len(bounded)) ** 0.5)
        if together > 1.0 + max(2.0 * _COUPLED, by_chance):
            return 1
        against = against or together < 1.0 - by_chance
    return -1 if against else 0


def _draws(estimate_nats: Estimator, probe: Probe, seed: int, calls: int = _CALLS) -> Floats:
    """Estimates from a generator that is the same for every probe, (calls, B); NaN where the answer is none."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(calls):
        answer = estimate_nats(WatchedDenoiser(probe), probe.x0.clone(), generator)
        if unusable(answer, len(probe.x0)) is not None:
            return np.full((calls, len(probe.x0)), np.nan)
        rows.append(answer.detach().double().cpu().numpy())
    return np.stack(rows)
