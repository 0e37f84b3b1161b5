"""The Philox4x64-10 generator for many counters at once.

NumPy's own generator runs along one counter, and to place it anew for each of 30,000 windows takes a second or two.
Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", describe the generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # a seed is checked, and by this, before torch is imported
    from torch import Tensor

Words = npt.NDArray[np.uint64]

ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # added to the key between rounds
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def first_words(
    key: tuple[int, int], second_words: npt.NDArray[np.int64], third_words: npt.NDArray[np.int64] | int = 0
) -> Words:
    """The first word of ``np.random.Philox(key=key, counter=[0, w, x, 0]).random_raw()`` for every pair of w and x.

    Args:
        key: two words.
        second_words: w, (n,), not negative.
        third_words: x, (n,) or the same for all, not negative.

    Returns:
        (n,) uint64.
    """
    # NumPy's generator takes a step before its first block: the lowest word of the counter is 1.
    return _words(key, np.ones(len(second_words), dtype=np.uint64), second_words, third_words)[0]


def many_words(
    key: tuple[int, int], second_words: npt.NDArray[np.int64], third_words: npt.NDArray[np.int64], size: int
) -> Words:
    """``np.random.Philox(key=key, counter=[0, w, x, 0]).random_raw(size)`` for every pair of w and x, (n, size)."""
    blocks = np.arange(1, -(-size // 4) + 1, dtype=np.uint64)
    words = _words(key, blocks[None], second_words[:, None], third_words[:, None])
    return np.stack(words, axis=-1).reshape(len(second_words), -1)[:, :size]


def _words(
    key: tuple[int, int],
    first_words: Words,
    second_words: npt.NDArray[np.int64],
    third_words: npt.NDArray[np.int64] | int,
) -> tuple[Words, Words, Words, Words]:
    """The four words of each counter, lowest word first; all broadcast against each other."""
    zero = first_words * np.uint64(0) + np.asarray(second_words).astype(np.uint64) * np.uint64(0)
    second, third = (np.asarray(part).astype(np.uint64) + zero for part in (second_words, third_words))
    counter = (first_words + zero, second, third, zero)
    for number in range(ROUNDS):
        left, right = (np.uint64((word + number * weyl) % (1 << 64)) for word, weyl in zip(key, _WEYL, strict=True))
        high0, low0 = _product(_MULTIPLIERS[0], counter[0])
        high1, low1 = _product(_MULTIPLIERS[1], counter[2])
        counter = (high1 ^ counter[1] ^ left, low1, high0 ^ counter[3] ^ right, low0)
    return counter


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
