"""A control variate for masks: what a small model of neighbours says of the very same mask, less its known mean.

Most of the noise of one draw is which tokens happened to be masked, and next to what. A model that predicts each
masked token from its two neighbours alone, where these are visible, shares much of that noise, and its mean over all
size-biased masks of a rate is known in closed form. Subtracting ``beta (draw - mean)`` leaves every expectation as it
is, for any network and any beta that does not look at the draw, and takes away about half of the mask noise.

The model is made of the counts of the scored text itself. Nothing of it enters the code length: a poor one costs
precision, never correctness.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.bigram import BigramCounts, bucket_of
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TOKENS_AT_ONCE = 1 << 13  # look-ups and sums of so few stay in the cache, in memory that is not asked for anew
_PSEUDO_COUNT = 2.0  # of the unigram, in each bigram
_LEAST_NATS = 0.02  # two agreeing neighbours multiply to more than a probability
_MIN_DRAWS = 24  # in a half; with fewer nothing is subtracted: a network with no noise to remove gets none added
_DEFAULT = np.array([0.4, 0.6])  # beta(u) = 0.4 + 0.6 u, the best of a small model on English text
_PRIOR_SPREAD = 0.25
_CURVE_DEGREE = 4
_HALF_WEIGHT_TOKENS = 100.0


@final
class NeighbourCode:
    """Code lengths of tokens given their visible neighbours, from counts in which each token leaves itself out.

    Args:
        corpus: the token stream.
        spans: what of it is scored.
        counts: of these very spans.
    """

    def __init__(self, corpus: Corpus, spans: Spans, counts: BigramCounts) -> None:
        self._corpus, self._spans = corpus, spans
        self._pairs, singles = counts.pairs, counts.tokens
        # By token id, so that a window costs look-ups instead of logarithms. Ids that do not occur are never looked up.
        seen, total = np.maximum(singles, 1.0), singles.sum() + len(singles)
        self._unigram_nats = np.log(total / seen)
        self._pseudo_pairs = seen / total * _PSEUDO_COUNT
        self._context_nats = np.log(seen - 1.0 + _PSEUDO_COUNT)

    def token_nats(self, window: int) -> Floats:
        """Code lengths of a span's targets, (4, L) nats: no neighbour visible, the left, the right, both."""
        start, end = int(self._spans.starts[window]), int(self._spans.ends[window])
        seen_from = max(start - 1, int(self._spans.context_starts[window]))
        return self._nats_of(self._corpus.read(seen_from, end))[:, start - seen_from :]

    def _nats_of(self, tokens: Ints) -> Floats:
        """Code lengths of tokens (..., L), (4, ..., L) nats."""
        nats = np.empty((4, *tokens.shape))
        nats[0] = self._unigram_nats[tokens]
        unigram, context = self._pseudo_pairs[tokens], self._context_nats[tokens]
        pair = np.maximum(self._pairs[bucket_of(tokens[..., :-1], tokens[..., 1:])] - 1.0, 0.0)
        nats[1, ..., 1:] = context[..., :-1] - np.log(pair + unigram[..., 1:])
        nats[2, ..., :-1] = context[..., 1:] - np.log(pair + unigram[..., :-1])
        nats[1, ..., 0], nats[2, ..., -1] = nats[0, ..., 0], nats[0, ..., -1]
        nats[3] = np.maximum(nats[1] + nats[2] - nats[0], _LEAST_NATS)
        return nats

    def control(self, window: int, masked: npt.NDArray[np.bool_], rate: npt.NDArray[Any]) -> Floats:
        """Mean code length of the masked targets of each mask, less its mean over size-biased masks of that rate.

        Args:
            window: index among the spans.
            masked: masks of the targets of this span, (B, L) bool, at least one token each.
            rate: mask rate u of each, (B,).

        Returns:
            (B,) float64 nats per masked token, with expectation 0.
        """
        has_context = bool(self._spans.context_starts[window] < self._spans.starts[window])
        return control_of_masks(self.token_nats(window), masked, rate, has_context=has_context)

    def control_of_batch(
        self, x0: Ints, masked: npt.NDArray[np.bool_], rate: npt.NDArray[Any], context_lengths: Ints
    ) -> Floats:
        """The same for one mask of each of many spans of one input length N, whose targets stand last.

        Args:
            x0: tokens, (B, N).
            masked: (B, N) bool.
            rate: (B,).
            context_lengths: of each row, (B,).

        Returns:
            (B,) float64.
        """
        control = np.empty(len(x0))
        for context in np.unique(context_lengths):
            rows = np.flatnonzero(context_lengths == context)
            count = max(_TOKENS_AT_ONCE // (x0.shape[1] - int(context)), 1)
            for start in range(0, len(rows), count):
                part = rows[start : start + count]
                control[part] = self._control_of_rows(x0[part], masked[part], rate[part], int(context))
        return control

    def _control_of_rows(self, x0: Ints, masked: npt.NDArray[np.bool_], rate: npt.NDArray[Any], context: int) -> Floats:
        """Rows whose contexts are equally long; of each, its last token alone is a neighbour of a target."""
        seen_from = max(context - 1, 0)
        nats = self._nats_of(x0[:, seen_from:])[..., context - seen_from :]
        return control_of_masks(nats, masked[:, context:], rate, has_context=context > 0)


def control_of_masks(
    token_nats: Floats, masked: npt.NDArray[np.bool_], rate: npt.NDArray[Any], *, has_context: bool = False
) -> Floats:
    """The control variate of masks (B, L) at rates (B,), from code lengths (4, L) of one span or (4, B, L); (B,).

    With a context the first target's left neighbour is visible always.
    """
    visible = ~masked
    drawn = np.where(masked, token_nats[0], 0.0)  # no neighbour visible, until one is
    left, right = np.zeros_like(masked), np.zeros_like(masked)
    left[:, 1:], right[:, :-1] = visible[:, :-1], visible[:, 1:]
    left[:, 0] = has_context
    for seen, nats in ((left & ~right, 1), (right & ~left, 2), (left & right, 3)):
        np.copyto(drawn, token_nats[nats], where=seen & masked)
    mean = mean_code_length(token_nats, rate, has_context=has_context)
    return np.asarray(drawn.sum(axis=1) / masked.sum(axis=1) - mean, dtype=np.float64)


def mean_code_length(token_nats: Floats, rate: npt.NDArray[Any], *, has_context: bool = False) -> Floats:
    """Mean over size-biased masks of rate u of the masked tokens' mean code length; (B,).

    Whichever token is masked, each of its neighbours is visible with probability 1 - u, independently; a neighbour
    beyond the span's end never is, one in its context always.

    Args:
        token_nats: code lengths of one span's targets, (4, L), or of a span for each rate, (4, B, L).
        rate: u, (B,).
        has_context: whether something visible stands before the first of them.
    """
    seen = 1.0 - np.asarray(rate, dtype=np.float64)
    none, only_left, only_right, both = token_nats.sum(axis=-1)
    first, last = token_nats[..., 0], token_nats[..., -1]
    length = token_nats.shape[-1]
    # 0 and 1: no left neighbour of the first target is ever visible, or it always is.
    beside_no_right, beside_right = first[int(has_context)], first[3 if has_context else 2]
    if length == 1:
        return np.asarray(np.broadcast_to(beside_no_right, seen.shape), dtype=np.float64)
    inner = (1.0 - seen) ** 2 * (none - first[0] - last[0])
    inner += seen * (1.0 - seen) * (only_left - first[1] - last[1] + only_right - first[2] - last[2])
    inner += seen**2 * (both - first[3] - last[3])
    ends = (1.0 - seen) * (beside_no_right + last[0]) + seen * (beside_right + last[1])
    return np.asarray((inner + ends) / length, dtype=np.float64)


def subtract_control(
    nats_per_masked: npt.NDArray[Any],
    control: npt.NDArray[Any],
    rate: npt.NDArray[Any],
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
        rate: mask rate u of each draw, (R,).
        num_masked: |M| of each draw, (R,).
        window: index of each draw's window, (R,).
        num_weighed: only so many draws, the first, are fitted; all if None. The others change nothing of these.
    """
    value, rate = np.asarray(nats_per_masked, dtype=np.float64), np.asarray(rate, dtype=np.float64)
    columns = np.stack([control, control * rate], axis=1)
    # Few masked tokens make a noisy draw.
    weight = np.sqrt(num_masked / (num_masked + _HALF_WEIGHT_TOKENS))
    odd, fitted = (
        np.asarray(window) % 2 == 1,
        np.arange(len(value)) < (len(value) if num_weighed is None else num_weighed),
    )
    adjusted = np.empty_like(value)
    for half in (odd, ~odd):
        others = ~half & fitted
        beta = _coefficients(value[others], columns[others], rate[others], weight[others])
        adjusted[half] = value[half] - columns[half] @ beta
    return adjusted


def _coefficients(value: Floats, columns: Floats, rate: Floats, weight: Floats) -> Floats:
    """Posterior mean of (b_0, b_1) under a normal prior around the default."""
    if len(value) < _MIN_DRAWS:
        return np.zeros(2)
    curve = np.polynomial.legendre.legvander(2.0 * rate - 1.0, _CURVE_DEGREE) * weight[:, None]
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
