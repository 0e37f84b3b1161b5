"""Random streams: everything random is a pure function of (seed, pass, window, sample).

It does not depend on the batch, the device or the number of processes, and any window's masks can be made again alone.

The numbers are those of Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2,
3"). NumPy's own generator runs along one counter, and to place it anew for each of 30,000 windows takes a second or
two: for many counters at once the rounds are written out here, for NumPy and, on a GPU, for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError

if TYPE_CHECKING:  # a seed is checked, and by this, before torch is imported
    from torch import Tensor

Words = npt.NDArray[np.uint64]

ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # added to the key between rounds
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


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
        is_whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        if not (is_whole and 0 <= self.seed < 1 << 64):
            seen = self.seed if is_whole else repr(self.seed)
            raise UsageError("seed", seen=seen, expected="0 .. 2^64 - 1", hint="pass --seed 0")
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
        return _unit(words_of_many(self._key(_Purpose.JITTER), windows, 0, 1)[:, 0]) + 2.0**-54

    def replicate(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where the second draw of each window looks that is drawn for the error alone, (n,) float64 in (0, 1]."""
        return _unit(words_of_many(self._key(_Purpose.REPLICATE), windows, 0, 1)[:, 0]) + 2.0**-54

    def independent(self, windows: npt.NDArray[np.int64], samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where draws look that share nothing with any other, each of a window and sample, (n,) float64 in (0, 1]."""
        return _unit(words_of_many(self._key(_Purpose.INDEPENDENT), windows, samples, 1)[:, 0]) + 2.0**-54

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
        uniform = _unit(words_of_many(self.mask_key, windows, samples, longest + 1))
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


def words_of_many(
    key: tuple[int, int], second_words: npt.NDArray[np.int64], third_words: npt.NDArray[np.int64] | int, size: int
) -> Words:
    """``np.random.Philox(key=key, counter=[0, w, x, 0]).random_raw(size)`` for every pair of w and x.

    Args:
        key: two words.
        second_words: w, (n,), not negative.
        third_words: x, (n,) or the same for all, not negative.
        size: how many of each.

    Returns:
        (n, size) uint64.
    """
    # NumPy's generator takes a step before its first block: the lowest word of the counter is 1.
    blocks = np.arange(1, -(-size // 4) + 1, dtype=np.uint64)
    second, third = (np.asarray(part).astype(np.uint64)[..., None] for part in (second_words, third_words))
    # Lowest word first. After four rounds each is (n, blocks); before, what is alike for all is computed once.
    counter: tuple[Words, ...] = (blocks, second, third, np.zeros(1, dtype=np.uint64))
    for number in range(ROUNDS):
        left, right = (np.uint64((word + number * weyl) % (1 << 64)) for word, weyl in zip(key, _WEYL, strict=True))
        high0, low0 = _product(_MULTIPLIERS[0], counter[0])
        high1, low1 = _product(_MULTIPLIERS[1], counter[2])
        counter = (high1 ^ counter[1] ^ left, low1, high0 ^ counter[3] ^ right, low0)
    return np.stack(counter, axis=-1).reshape(len(second_words), 4 * len(blocks))[:, :size]


def torch_words(left: Tensor, right: Tensor, counter: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    """The four words of each counter, lowest word first, under a key (left, right); int64 with the bits of uint64.

    All broadcast against each other. NumPy's generator begins with 1 in the counter's lowest word.
    """
    for _ in range(ROUNDS):
        high0, low0 = _torch_product(int(_MULTIPLIERS[0]), counter[0])
        high1, low1 = _torch_product(int(_MULTIPLIERS[1]), counter[2])
        counter = (high1 ^ counter[1] ^ left, low1, high0 ^ counter[3] ^ right, low0)
        left, right = left + _signed(_WEYL[0]), right + _signed(_WEYL[1])
    return counter


def _signed(word: int) -> int:
    """The int64 with the bits of a word."""
    return word - ((word >> 63) << 64)


def _torch_product(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of the 128 bits of a b; sums and products of int64 wrap."""
    a_high, a_low = a >> 32, a & 0xFFFFFFFF
    b_high, b_low = _upper(b), b & 0xFFFFFFFF
    cross, other = a_low * b_high, a_high * b_low
    carry = _upper(a_low * b_low) + (cross & 0xFFFFFFFF) + (other & 0xFFFFFFFF)
    return a_high * b_high + _upper(cross) + _upper(other) + _upper(carry), _signed(a) * b


def _upper(word: Tensor) -> Tensor:
    """The upper half of words, without their sign."""
    return (word >> 32) & 0xFFFFFFFF


def _product(a: np.uint64, b: Words) -> tuple[Words, Words]:
    """High and low word of the 128 bits of a b."""
    a_high, b_high, b_low = a >> _HALF, b >> _HALF, b & _LOW
    a_low = a & _LOW
    cross, other = a_low * b_high, a_high * b_low
    carry = (a_low * b_low >> _HALF) + (cross & _LOW) + (other & _LOW)
    return a_high * b_high + (cross >> _HALF) + (other >> _HALF) + (carry >> _HALF), a * b
