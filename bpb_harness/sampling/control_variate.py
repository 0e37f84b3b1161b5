"""A control variate for masks: what a small model of neighbours says of the very same mask, less its known mean.

Most of the noise of one draw is which tokens happened to be masked, and next to what. A model that predicts each
masked token from its two neighbours alone, where these are visible, shares much of that noise, and its mean over all
size-biased masks of a rate is known in closed form. Subtracting ``beta (draw - mean)`` leaves every expectation as it
is, for any network and any beta that does not look at the draw, and takes away about half of the mask noise.

The model is made of the counts of the scored text itself. Nothing of it enters the code length: a poor one costs
precision, never correctness. So it may be one whose logarithms come out of a table: between two entries a straight
line, wrong by 1.1e-8 bits at most, and by what whole units of 2^-24 bits leave out: 1.1e-7 bits in all. What is made of
whole numbers alone is what it is, to the last bit, on every processor and GPU and in every order of its sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.bigram import BigramCounts, bucket_of
from bpb_harness.units import NATS_PER_BIT

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNITS_BITS = 24
NATS_PER_UNIT = NATS_PER_BIT / (1 << UNITS_BITS)  # a unit is 2^-24 bits

# A float64 is 1 bit of sign, 11 of exponent, 52 of mantissa: 12 of these choose an entry, 24 a place on the line.
TABLE_BITS = 12
MANTISSA_BITS, EXPONENT_BIAS = 52, 1023
INDEX_SHIFT, REST_SHIFT = MANTISSA_BITS - TABLE_BITS, MANTISSA_BITS - TABLE_BITS - UNITS_BITS
INDEX_MASK, REST_MASK = (1 << TABLE_BITS) - 1, (1 << UNITS_BITS) - 1

LOG2_TABLE: Ints = np.rint(
    np.log2(1.0 + np.arange((1 << TABLE_BITS) + 1) / (1 << TABLE_BITS)) * (1 << UNITS_BITS)
).astype(np.int64)
_RISES: Ints = np.diff(LOG2_TABLE)

_TOKENS_AT_ONCE = 1 << 13  # look-ups and sums of so few stay in the cache, in memory that is not asked for anew
_PSEUDO_COUNT = 2.0  # of the unigram, in each bigram
LEAST_UNITS = round(0.02 / NATS_PER_UNIT)  # two agreeing neighbours multiply to more than a probability
_MIN_DRAWS = 24  # in a half; with fewer nothing is subtracted: a network with no noise to remove gets none added
_DEFAULT = np.array([0.4, 0.6])  # beta(u) = 0.4 + 0.6 u, the best of a small model on English text
_PRIOR_SPREAD = 0.25
_CURVE_DEGREE = 4
_HALF_WEIGHT_TOKENS = 100.0


@final
@dataclass(frozen=True)
class ControlSums:
    """What the control variate of one mask of each of B spans is made of; whole numbers, int64.

    Code lengths of a target come in four columns: no neighbour visible, the left, the right, both.

    Attributes:
        num_masked: |M|, (B,).
        drawn: code lengths of the masked targets given the neighbours that this mask leaves visible, (B,).
        columns: of all targets, (4, B).
        first: of each span's first target, (4, B).
        last: of its last, (4, B).
    """

    num_masked: Ints
    drawn: Ints
    columns: Ints
    first: Ints
    last: Ints

    def control(self, lengths: Ints, mask_rate: npt.NDArray[Any], has_context: npt.NDArray[np.bool_]) -> Floats:
        """Control variate of each mask, (B,) nats per masked token.

        Mean code length of the masked targets, less its mean over size-biased masks of rate u. Whichever target is
        masked, each of its neighbours is visible there with probability 1 - u, independently; a neighbour beyond the
        span's end never is, one in its context always.

        Args:
            lengths: targets of each span, (B,).
            mask_rate: u of each, (B,).
            has_context: whether something visible stands before the first target, (B,).
        """
        seen = 1.0 - np.asarray(mask_rate, dtype=np.float64)
        none, only_left, only_right, both = self.columns
        first, last = self.first, self.last
        # No left neighbour of the first target is ever visible, or it always is.
        beside_no_right = np.where(has_context, first[1], first[0])
        beside_right = np.where(has_context, first[3], first[2])
        inner = (1.0 - seen) ** 2 * (none - first[0] - last[0])
        inner += seen * (1.0 - seen) * (only_left - first[1] - last[1] + only_right - first[2] - last[2])
        inner += seen**2 * (both - first[3] - last[3])
        ends = (1.0 - seen) * (beside_no_right + last[0]) + seen * (beside_right + last[1])
        mean = np.where(lengths == 1, beside_no_right, (inner + ends) / lengths)
        return np.asarray((self.drawn / self.num_masked - mean) * NATS_PER_UNIT, dtype=np.float64)


@final
@dataclass(frozen=True)
class NeighbourCode:
    """Code lengths of tokens given their visible neighbours, from counts in which each token leaves itself out.

    They are made of tables: look-ups instead of logarithms, but for those of pairs.

    By token id, (largest token + 1,) each; ids that do not occur are never looked up. Code lengths are in units of
    2^-24 bits: whole numbers, so that it does not matter where they are computed and in which order they are summed.

    Attributes:
        unigram: code length of each token with no neighbour visible, int64.
        context: log2 of what the pairs with a token as the visible neighbour weigh, int64.
        pseudo_pairs: what is added to the count of a pair for the unigram of the token that is predicted, float64.
        pairs: pairs of each bucket without the one in question, (2^20,) float64.
    """

    unigram: Ints
    context: Ints
    pseudo_pairs: Floats
    pairs: Floats

    @classmethod
    def of(cls, counts: BigramCounts) -> Self:
        """The code of a text; the counts are of what of it is scored."""
        singles = counts.tokens
        seen, total = np.maximum(singles, 1).astype(np.float64), float(singles.sum() + len(singles))
        return cls(
            log2_units(np.array(total)) - log2_units(seen),
            log2_units(seen - 1.0 + _PSEUDO_COUNT),
            seen / total * _PSEUDO_COUNT,
            np.maximum(counts.pairs - 1, 0).astype(np.float64),
        )

    def _units_of(self, tokens: Ints) -> Ints:
        """Code lengths of tokens (..., L), (4, ..., L) units."""
        units = np.empty((4, *tokens.shape), dtype=np.int64)
        units[0] = self.unigram[tokens]
        pseudo_pairs, context = self.pseudo_pairs[tokens], self.context[tokens]
        pair = self.pairs[bucket_of(tokens[..., :-1], tokens[..., 1:])]
        units[1, ..., 1:] = context[..., :-1] - log2_units(pair + pseudo_pairs[..., 1:])
        units[2, ..., :-1] = context[..., 1:] - log2_units(pair + pseudo_pairs[..., :-1])
        units[1, ..., 0], units[2, ..., -1] = units[0, ..., 0], units[0, ..., -1]
        units[3] = np.maximum(units[1] + units[2] - units[0], LEAST_UNITS)
        return units

    def control_of_batch(
        self, x0: Ints, masked: npt.NDArray[np.bool_], mask_rate: npt.NDArray[Any], context_lengths: Ints
    ) -> Floats:
        """The control variate of one mask of each of many spans of one input length N, whose targets stand last.

        Args:
            x0: tokens, (B, N).
            masked: masks, at least one target each, (B, N) bool.
            mask_rate: u of each, (B,).
            context_lengths: of each row, (B,).

        Returns:
            (B,) float64 nats per masked token, with expectation 0.
        """
        control = np.empty(len(x0))
        for context in np.unique(context_lengths):
            rows = np.flatnonzero(context_lengths == context)
            length, seen = x0.shape[1] - int(context), min(int(context), 1)  # its last token alone is a neighbour
            count = max(_TOKENS_AT_ONCE // length, 1)
            for start in range(0, len(rows), count):
                part = rows[start : start + count]
                units = self._units_of(x0[part, -length - seen :])[..., seen:]
                sums = sums_of_masks(units, masked[part, -length:], has_context=seen > 0)
                alike = np.ones(len(part), dtype=np.int64)
                control[part] = sums.control(alike * length, mask_rate[part], alike * seen > 0)
        return control


def sums_of_masks(units: Ints, masked: npt.NDArray[np.bool_], *, has_context: bool = False) -> ControlSums:
    """Sums of masks (B, L) of the targets of spans, from code lengths (4, B, L).

    With a context the first target's left neighbour is visible always.
    """
    visible = ~masked
    drawn = np.where(masked, units[0], 0)  # no neighbour visible, until one is
    left, right = np.zeros_like(masked), np.zeros_like(masked)
    left[:, 1:], right[:, :-1] = visible[:, :-1], visible[:, 1:]
    left[:, 0] = has_context
    for seen, column in ((left & ~right, 1), (right & ~left, 2), (left & right, 3)):
        np.copyto(drawn, units[column], where=seen & masked)
    return ControlSums(masked.sum(axis=1), drawn.sum(axis=1), units.sum(axis=-1), units[..., 0], units[..., -1])


def log2_units(values: Floats) -> Ints:
    """log2 of positive normal numbers, in units of 2^-24 bits; elementwise."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    index = (bits >> INDEX_SHIFT) & INDEX_MASK
    on_line = (_RISES[index] * ((bits >> REST_SHIFT) & REST_MASK)) >> UNITS_BITS
    exponent = (bits >> MANTISSA_BITS) - EXPONENT_BIAS
    return np.asarray((exponent << UNITS_BITS) + LOG2_TABLE[index] + on_line)


def subtract_control(
    nats_per_masked: npt.NDArray[Any],
    control: npt.NDArray[Any],
    mask_rate: npt.NDArray[Any],
    num_masked: npt.NDArray[Any],
    window: npt.NDArray[Any],
    num_weighed: int | None = None,
) -> Floats:
    """Draws less ``beta(u)`` times their control variate, unbiased as before.

    beta(u) = b_0 + b_1 u is fitted to the draws of the windows of the other parity, and drawn to a default as far as
    these leave it uncertain. Masks of different windows are independent given all rates, so beta is independent of the
    control variates that it multiplies: exactly unbiased.

    Args:
        nats_per_masked: C / |M| of each draw, (R,).
        control: the control variate of each draw, (R,).
        mask_rate: u of each draw, (R,).
        num_masked: |M| of each draw, (R,).
        window: index of each draw's window, (R,).
        num_weighed: only so many draws, the first, are fitted; all if None. The others change nothing of these.
    """
    value, mask_rate = np.asarray(nats_per_masked, dtype=np.float64), np.asarray(mask_rate, dtype=np.float64)
    columns = np.stack([control, control * mask_rate], axis=1)
    # Few masked tokens make a noisy draw.
    weight = np.sqrt(num_masked / (num_masked + _HALF_WEIGHT_TOKENS))
    odd, fitted = (
        np.asarray(window) % 2 == 1,
        np.arange(len(value)) < (len(value) if num_weighed is None else num_weighed),
    )
    adjusted = np.empty_like(value)
    for half in (odd, ~odd):
        others = ~half & fitted
        beta = _coefficients(value[others], columns[others], mask_rate[others], weight[others])
        adjusted[half] = value[half] - columns[half] @ beta
    return adjusted


def _coefficients(value: Floats, columns: Floats, mask_rate: Floats, weight: Floats) -> Floats:
    """Posterior mean of (b_0, b_1) under a normal prior around the default."""
    if len(value) < _MIN_DRAWS:
        return np.zeros(2)
    curve = np.polynomial.legendre.legvander(2.0 * mask_rate - 1.0, _CURVE_DEGREE) * weight[:, None]
    projector = np.linalg.qr(curve)[0]

    def free_of_curve(rows: Floats) -> Floats:
        return np.asarray(rows - projector @ (projector.T @ rows), dtype=np.float64)

    regressors = free_of_curve(columns * weight[:, None])
    values = free_of_curve(value * weight)
    least_squares = np.linalg.lstsq(regressors, values, rcond=1e-10)[0]
    rest = values - regressors @ least_squares
    variance = float(rest @ rest) / (len(value) - curve.shape[1] - 2)
    # The posterior, with the variance multiplied out, so that it may be 0.
    prior = variance / _PRIOR_SPREAD**2 * np.eye(2)
    precision = regressors.T @ regressors + prior
    return np.asarray(np.linalg.lstsq(precision, regressors.T @ values + prior @ _DEFAULT, rcond=1e-12)[0])
