"""Which tokens are masked: random streams, size-biased masks, and the stratified design over a corpus.

Everything random is a pure function of (seed, pass, window, sample): it does not depend on the batch, the device or the
number of processes, and any window's masks can be made again alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.philox import first_words
from bpb_harness.schedule import NoiseLevel
from bpb_harness.strata import random_halving_ranks

_FEWEST_REPLICATES = 128  # the noise of 361 windows is then known to 9 %, its square root to 5 %
FEWEST_WINDOWS_REPLICATED = 256  # below, two draws of every window tell more for the same price
_REPLICATES_ONE_IN = 64


class _Purpose(IntEnum):
    """Keeps streams of different use apart. Part of what a seed means: never renumber."""

    SHIFT = 1
    JITTER = 2
    MASK = 3
    ORDER = 4
    HALVING = 5
    REPLICATE = 6
    LEVEL = 7


@final
@dataclass(frozen=True)
class RandomStreams:
    """Counter-based random numbers, keyed by (seed, pass) and addressed by (window, sample).

    Only ``random_raw`` of NumPy's Philox is used: bit generators are frozen by NumPy's compatibility policy, the
    methods of ``Generator`` are not.

    Attributes:
        seed: 0 .. 2^64 - 1.
        pass_index: which repetition of the whole design; passes are independent.

    Raises:
        UsageError: if the seed is out of range.
    """

    seed: int
    pass_index: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise UsageError("seed", seen=self.seed, expected="0 .. 2^64 - 1", hint="pass --seed 0")
        assert 0 <= self.pass_index < 1 << 32

    def _key(self, purpose: _Purpose) -> tuple[int, int]:
        return self.seed, (self.pass_index << 8) | purpose

    def _raw(self, purpose: _Purpose, window: int, sample: int, size: int) -> npt.NDArray[np.uint64]:
        key = np.array(self._key(purpose), dtype=np.uint64)
        # The lowest word of the counter is the one that Philox increments while it generates.
        counter = np.array([0, window, sample, 0], dtype=np.uint64)
        return np.asarray(np.random.Philox(key=key, counter=counter).random_raw(size), dtype=np.uint64)

    def design_shift(self, num_windows: int) -> int:
        """The random cyclic shift of a design's ranks, 0 .. num_windows - 1."""
        return int(_unit(self._raw(_Purpose.SHIFT, 0, 0, 1))[0] * num_windows)

    def halving_coins(self, depth: int, num_windows: int) -> npt.NDArray[np.int64]:
        """Fair coins of one depth of the design's halving, (num_windows,) 0 or 1."""
        return (self._raw(_Purpose.HALVING, 0, depth, num_windows) >> np.uint64(63)).astype(np.int64)

    def jitter(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The position of each window inside its stratum, (n,) float64 in (0, 1], never 0."""
        return _unit(first_words(self._key(_Purpose.JITTER), windows)) + 2.0**-54

    def replicate(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where the second draw of each window looks that is drawn for the error alone, (n,) float64 in (0, 1]."""
        return _unit(first_words(self._key(_Purpose.REPLICATE), windows)) + 2.0**-54

    def mask_noise(self, window: int, sample: int, length: int) -> tuple[int, npt.NDArray[np.float64]]:
        """Forced target position and per-position noise of one draw.

        Returns:
            The target, uniform on 0 .. length - 1, and (length,) float64 noise, uniform on [0, 1). A position is masked
            at rate u if its noise is below u, so masks at increasing rates are nested.
        """
        uniform = _unit(self._raw(_Purpose.MASK, window, sample, length + 1))
        return int(uniform[0] * length), uniform[1:]

    def level_noise(self, window: int, sample: int, size: int) -> npt.NDArray[np.float64]:
        """Uniform numbers on [0, 1) behind the noise levels of a window's enumerated masks, (size,) float64."""
        return _unit(self._raw(_Purpose.LEVEL, window, sample, size))

    def order(self, window: int, sample: int, length: int) -> npt.NDArray[np.int64]:
        """A uniformly random order of 0 .. length - 1."""
        raw = self._raw(_Purpose.ORDER, window, sample, length)
        return np.argsort(raw, kind="stable")


def _unit(raw: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Uniform float64 on [0, 1) with 53 random bits."""
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def size_biased_masks(noise: Tensor, target: Tensor, level: NoiseLevel) -> Tensor:
    """Masks in which one uniformly drawn position is masked and every other one with probability u.

    E[C / u] over Bernoulli(u) masks equals L E[C / |M|] over these (MATHS.md, equation 7), and C / |M| is bounded where
    C / u is not.

    Args:
        noise: uniform on [0, 1), (B, L) float64.
        target: the forced position of each row, (B,) int64.
        level: noise level of each row, (B,); its ``move_chance`` is u.

    Returns:
        (B, L) bool.
    """
    masked = noise < level.move_chance.unsqueeze(-1)
    return masked.scatter(1, target.unsqueeze(-1), True)


@final
class StratifiedDesign:
    """Where in (0, 1) each draw of each window looks: v[w, j] = (j + (pi(w) + e_w) / N) / K, every second j mirrored.

    A window's draws lie one in each K-th of (0, 1), in every second one at the mirrored place, so that a window whose
    curve leans otherwise than the corpus's errs in opposite directions. All N K draws together are one stratified
    sample of (0, 1). pi gives the strata out in the order of the windows' difficulty, by random halving
    (:mod:`bpb_harness.strata`) under one random cyclic shift: windows of like difficulty are spread evenly over the
    mask rates. The shift makes pi(w) uniform, so that each draw is uniform on its K-th of (0, 1): unbiased for every
    order and every N.

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
    number = max(_FEWEST_REPLICATES, count // _REPLICATES_ONE_IN) if count >= FEWEST_WINDOWS_REPLICATED else 0
    return np.arange(number) * count // max(number, 1)


def stack_mask_noise(
    streams: RandomStreams, windows: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], length: int
) -> tuple[Tensor, Tensor]:
    """Noise (B, L) float64 and targets (B,) int64 of many draws of windows of one length."""
    noise = np.empty((len(windows), length), dtype=np.float64)
    target = np.empty(len(windows), dtype=np.int64)
    for row, (window, sample) in enumerate(zip(windows, samples, strict=True)):
        target[row], noise[row] = streams.mask_noise(int(window), int(sample), length)
    return torch.from_numpy(noise), torch.from_numpy(target)
