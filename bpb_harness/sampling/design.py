"""Designs: at which mask rates each window of a corpus is looked at, and which of its positions are masked then.

Windows of like difficulty have like curves over the mask rate, so each neighbourhood of difficulties should be spread
evenly over the rates. A fixed low-discrepancy sequence under one random shift does that too, but then everything hangs
on one random number: the windows' own deviations add up to one fixed realisation instead of averaging out. Measured on
693 windows of a real model, that left 2.3 times the variance of random halving, and no error estimate can see it.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel
from bpb_harness.statistics.random_halving import mirrored_draws, random_halving_ranks

Ints = npt.NDArray[np.int64]

_MIN_REPLICATES = 128  # the noise of 361 windows is then known to 9 %, its square root to 5 %
MIN_WINDOWS_REPLICATED = 256  # below, two draws of every window tell more for the same price
_REPLICATES_ONE_IN = 64
_NEVER_MASKED = 2.0
_SHORT = 256  # below, placing NumPy's generator anew for each draw takes longer than all its numbers do otherwise


@final
class StratifiedDesign:
    """Where in (0, 1) each draw of each window looks: v[w, j] = (j + (pi(w) + e_w) / N) / K, every second j antithetic.

    A window's draws lie one in each K-th of (0, 1), in every second one at the mirrored place, so that a window whose
    curve leans otherwise than the corpus's errs in opposite directions. All N K draws together are one stratified
    sample of (0, 1). pi gives the strata out in the order of the windows' difficulty, by random halving
    (:func:`random_halving_ranks`) under one random cyclic shift: windows of like difficulty are spread evenly
    over the mask rates. The shift makes pi(w) uniform, so that each draw is uniform on its K-th of (0, 1): unbiased for
    every order and every N.

    With one draw a window, nothing tells a window's mask noise from its own difference to the others. Some windows are
    therefore drawn a second time, independently, for the error alone: the replicates. They enter no total, and are left
    out where the text is short or another pass tells the same.

    Args:
        streams: source of the shift and the jitter.
        difficulty: (N,) any numbers; windows are ordered by them, ties by index.
        num_samples: K, draws a window.
        first_window: index in the corpus of the first of the N windows.
        replicates: whether to draw any.

    Attributes:
        num_samples: K.
        positions: v of each draw of each window, (N, K) float64 in (0, 1].
        replicated: windows that are drawn a second time, (n,) int64, ascending; none unless K = 1 and N >= 256.
        replicate_positions: v of these draws, (n,) float64 in (0, 1].

    Raises:
        UsageError: if K is below 1.
    """

    def __init__(
        self,
        streams: RandomStreams,
        difficulty: npt.NDArray[np.generic],
        num_samples: int,
        first_window: int = 0,
        *,
        replicates: bool = True,
    ) -> None:
        if num_samples < 1:
            raise UsageError("number of samples K", seen=num_samples, expected="1 or more", hint="pass --samples 2")
        self.num_samples = num_samples
        count = len(difficulty)
        stratum = np.empty(count, dtype=np.int64)
        if count:
            halved = random_halving_ranks(count, lambda depth: streams.halving_coins(depth, count))
            ranks = (halved + streams.design_shift(count)) % count
            stratum[np.argsort(difficulty, kind="stable")] = ranks
        inside = (stratum + streams.jitter(np.arange(first_window, first_window + count))) / max(count, 1)
        self.positions = mirrored_draws(inside, num_samples)
        self.replicated: Ints = np.zeros(0, dtype=np.int64)
        self.replicate_positions: npt.NDArray[np.float64] = np.zeros(0)
        if num_samples == 1 and replicates:
            self.replicated = replicated_windows(count)
            self.replicate_positions = streams.replicate(first_window + self.replicated)

    def __len__(self) -> int:
        return len(self.positions)


def replicated_windows(count: int) -> npt.NDArray[np.int64]:
    """Which of N windows with one draw each are drawn a second time: 128 or N / 64, evenly over the text; or none."""
    number = max(_MIN_REPLICATES, count // _REPLICATES_ONE_IN) if count >= MIN_WINDOWS_REPLICATED else 0
    return np.arange(number) * count // max(number, 1)


@final
class IndependentDesign:
    """Where in (0, 1] each draw of each span looks: uniform, and independent of all others.

    The stratified design places a span's draws by one jitter and spreads spans over the mask rates: a sharper total,
    but the spread of a span's own draws says little of its error. Here K >= 2 draws do (MATHS.md, equation 31).

    Args:
        streams: source of the positions.
        num_spans: N.
        num_samples: K, draws a span.

    Attributes:
        positions: v of each draw of each span, (N, K) float64 in (0, 1].
        replicated: no span is drawn again for the error alone, (0,) int64.
        replicate_positions: (0,) float64.

    Raises:
        UsageError: if K is below 1.
    """

    def __init__(self, streams: RandomStreams, num_spans: int, num_samples: int) -> None:
        if num_samples < 1:
            raise UsageError("number of samples K", seen=num_samples, expected="1 or more", hint="pass --samples 2")
        span, sample = np.divmod(np.arange(num_spans * num_samples), num_samples)
        positions = streams.independent(span, sample)
        self.positions: npt.NDArray[np.float64] = positions.reshape(num_spans, num_samples)
        self.replicated: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.replicate_positions: npt.NDArray[np.float64] = np.zeros(0)


def size_biased_masks(noise: Tensor, target: Tensor, level: NoiseLevel) -> Tensor:
    """Masks in which one uniformly drawn position is masked and every other one with probability u.

    E[C / u] over Bernoulli(u) masks equals L E[C / |M|] over these (MATHS.md, equation 7), and C / |M| is bounded where
    C / u is not.

    Args:
        noise: uniform on [0, 1), above 1 where a token is never masked, (B, L) float64.
        target: the forced position of each row, (B,) int64.
        level: noise level of each row, (B,); its ``mask_rate`` is u.

    Returns:
        (B, L) bool.
    """
    masked = noise < level.mask_rate.unsqueeze(-1)
    return masked.scatter(1, target.unsqueeze(-1), True)


def stack_mask_noise(
    streams: RandomStreams,
    windows: Ints,
    samples: Ints,
    target_lengths: Ints,
    input_length: int,
) -> tuple[Tensor, Tensor]:
    """Noise of many draws of spans of one input length, whose targets stand last.

    Args:
        streams: where it comes from.
        windows: the span of each draw, (B,).
        samples: which draw of its span, (B,).
        target_lengths: L of each span, (B,).
        input_length: N, tokens of context and targets together.

    Returns:
        Noise (B, N) float64, above every mask rate within contexts, and the forced target of each row (B,) int64.
    """
    if not len(windows) == len(samples) == len(target_lengths):
        raise ValueError("windows, samples and lengths of draws: one is shorter than the others")
    noise = np.full((len(windows), input_length), _NEVER_MASKED)
    target = np.empty(len(windows), dtype=np.int64)
    longest = int(target_lengths.max(initial=0))
    if longest <= _SHORT and len(windows) > 1:
        contexts = input_length - target_lengths
        places, short = streams.mask_noise_of_many(windows, samples, longest)
        column = np.arange(input_length) - contexts[:, None]
        drawn = np.take_along_axis(short, np.clip(column, 0, longest - 1), axis=1)
        np.copyto(noise, drawn, where=column >= 0)
        return torch.from_numpy(noise), torch.from_numpy(contexts + (places * target_lengths).astype(np.int64))
    for row, (window, sample, length) in enumerate(zip(windows, samples, target_lengths, strict=True)):
        context = input_length - int(length)
        place, noise[row, context:] = streams.mask_noise(int(window), int(sample), int(length))
        target[row] = context + place
    return torch.from_numpy(noise), torch.from_numpy(target)


def mask_bits(masks: Ints, length: int) -> npt.NDArray[np.bool_]:
    """Masks that are written as numbers, bit i for target i: (n,) -> (n, length) bool."""
    return np.asarray((masks[:, None] >> np.arange(length)) & 1 == 1)
