"""Random streams: everything random is a pure function of (seed, pass, window, sample).

It does not depend on the batch, the device or the number of processes, and any window's masks can be made again alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError
from bpb_harness.sampling.philox import first_words, many_words


class _Purpose(IntEnum):
    """Keeps streams of different use apart. Part of what a seed means: never renumber."""

    SHIFT = 1
    JITTER = 2
    MASK = 3
    ORDER = 4
    HALVING = 5
    REPLICATE = 6
    LEVEL = 7
    INDEPENDENT = 8
    REVEAL = 9
    CIRCLE = 10


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

    def independent(self, windows: npt.NDArray[np.int64], samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where draws look that share nothing with any other, each of a window and sample, (n,) float64 in (0, 1]."""
        return _unit(first_words(self._key(_Purpose.INDEPENDENT), windows, samples)) + 2.0**-54

    @property
    def mask_key(self) -> tuple[int, int]:
        """The key under which masks are drawn; a window and a sample are the second and third word of the counter."""
        return self._key(_Purpose.MASK)

    def mask_noise(self, window: int, sample: int, length: int) -> tuple[int, npt.NDArray[np.float64]]:
        """Forced target position and per-position noise of one draw.

        Returns:
            The target, uniform on 0 .. length - 1, and (length,) float64 noise, uniform on [0, 1). A position is masked
            at rate u if its noise is below u, so masks at increasing rates are nested.
        """
        uniform = _unit(self._raw(_Purpose.MASK, window, sample, length + 1))
        return int(uniform[0] * length), uniform[1:]

    def mask_noise_of_many(
        self, windows: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], longest: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The same for many draws at once, which takes longer where they are long.

        Returns:
            What places the target, (n,) on [0, 1), and the noise of so many positions, (n, longest); of fewer it begins
            alike.
        """
        uniform = _unit(many_words(self.mask_key, windows, samples, longest + 1))
        return uniform[:, 0], uniform[:, 1:]

    def reveal_rates(self, window: int, length: int, draw: int = 0) -> npt.NDArray[np.float64]:
        """Where each target of a window is revealed by a code: tau, uniform on (0, 1), (length,) float64."""
        return _unit(self._raw(_Purpose.REVEAL, window, draw, length)) + 2.0**-54

    def circle(self, window: int, sample: int, length: int) -> tuple[float, npt.NDArray[np.float64]]:
        """Where in its stratum the mask rate of a round lies, in (0, 1], and the place of each target on a circle.

        Returns:
            A number, and (length,) float64 on [0, 1).
        """
        uniform = _unit(self._raw(_Purpose.CIRCLE, window, sample, length + 1))
        return float(uniform[0]) + 2.0**-54, uniform[1:]

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
