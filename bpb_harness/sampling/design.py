"""The stratified design: which mask rates each window of a corpus is looked at."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError
from bpb_harness.sampling.strata import random_halving_ranks
from bpb_harness.sampling.streams import RandomStreams

_MIN_REPLICATES = 128  # the noise of 361 windows is then known to 9 %, its square root to 5 %
MIN_WINDOWS_REPLICATED = 256  # below, two draws of every window tell more for the same price
_REPLICATES_ONE_IN = 64


@final
class StratifiedDesign:
    """Where in (0, 1) each draw of each window looks: v[w, j] = (j + (pi(w) + e_w) / N) / K, every second j antithetic.

    A window's draws lie one in each K-th of (0, 1), in every second one at the mirrored place, so that a window whose
    curve leans otherwise than the corpus's errs in opposite directions. All N K draws together are one stratified
    sample of (0, 1). pi gives the strata out in the order of the windows' difficulty, by random halving
    (:mod:`bpb_harness.sampling.strata`) under one random cyclic shift: windows of like difficulty are spread evenly
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
        sample = np.arange(num_samples)
        # inside is in (0, 1]; a mirrored draw is never the first, so v stays above 0.
        mirrored = np.where(sample % 2 == 1, 1.0 - inside[:, None], inside[:, None])
        self.positions: npt.NDArray[np.float64] = (sample + mirrored) / num_samples
        self.replicated = replicated_windows(count if num_samples == 1 and replicates else 0)
        self.replicate_positions = streams.replicate(first_window + self.replicated)

    def __len__(self) -> int:
        return len(self.positions)


def replicated_windows(count: int) -> npt.NDArray[np.int64]:
    """Which of N windows with one draw each are drawn a second time: 128 or N / 64, evenly over the text; or none."""
    number = max(_MIN_REPLICATES, count // _REPLICATES_ONE_IN) if count >= MIN_WINDOWS_REPLICATED else 0
    return np.arange(number) * count // max(number, 1)
