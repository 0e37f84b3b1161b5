"""A range coder in exact integers: intervals of a total become bits, and bits become them again.

The state is an interval [low, low + range) of 64 bits. A symbol takes ``frequency`` parts of ``total`` from it; bytes
that no later symbol can change but by a carry are written out, which keeps range between 2^56 and 2^64. The end is one
byte: the top byte of the smallest multiple of 2^56 in the interval. There always is one, so that a stream costs at most
8 bits more than its intervals, and every sequence of symbols has exactly one stream. A decoder checks that it is that
one: it refuses a stream that ends early, goes on behind its end, or holds a number that no encoder makes.

With totals up to 2^32, cutting range to a multiple of total wastes less than 2^-24 of it, 1e-7 bits a symbol.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import InputError, NumericsError

Ints = npt.NDArray[np.int64]

LARGEST_TOTAL = 1 << 32
_BITS = 64
_TOP = 1 << _BITS
_BELOW_TOP_BYTE = _BITS - 8
_MIN_RANGE = 1 << _BELOW_TOP_BYTE
_LOW_BITS = _MIN_RANGE - 1


@final
class Encoder:
    """Writes one stream."""

    def __init__(self) -> None:
        self._low, self._range = 0, _TOP
        self._written = bytearray()

    def encode(self, low: int, frequency: int, total: int) -> None:
        """Write a symbol.

        Args:
            low: frequencies of the symbols before it, added up.
            frequency: its own, 1 or more.
            total: of all symbols, at most 2^32.

        Raises:
            NumericsError: if this is no interval; a symbol of frequency 0 has none.
        """
        _require_interval(low, frequency, total)
        part = self._range // total
        self._low += part * low
        self._range = part * frequency
        if self._low >= _TOP:
            self._low -= _TOP
            self._carry()
        while self._range < _MIN_RANGE:
            self._written.append(self._low >> _BELOW_TOP_BYTE)
            self._low = (self._low & _LOW_BITS) << 8
            self._range <<= 8

    def encode_rows(self, counts: Ints, tokens: Ints) -> None:
        """Write a token under each row of frequencies.

        Args:
            counts: frequencies, (n, V); each row adds up to its total.
            tokens: (n,), 0 <= token < V.

        Raises:
            NumericsError: if a token has frequency 0.
        """
        ends = counts.cumsum(axis=1)
        which = np.arange(len(tokens))
        of_tokens = counts[which, tokens]
        lows = ends[which, tokens] - of_tokens
        for low, frequency, total in zip(lows.tolist(), of_tokens.tolist(), ends[:, -1].tolist(), strict=True):
            self.encode(low, frequency, total)

    def finish(self) -> bytes:
        """The stream; one byte where nothing was written. The encoder goes on as if this had not been asked."""
        top = -(-self._low >> _BELOW_TOP_BYTE)
        stream = bytearray(self._written)
        if top == 1 << 8:
            _carry_into(stream)
            top = 0
        stream.append(top)
        return bytes(stream)

    def _carry(self) -> None:
        _carry_into(self._written)


def _carry_into(written: bytearray) -> None:
    """Add 1 to the number that the bytes make; it stays below 1, so that some byte takes it."""
    at = len(written) - 1
    while written[at] == 0xFF:
        written[at] = 0
        at -= 1
    written[at] += 1


@final
class Decoder:
    """Reads one stream: for each symbol :meth:`target`, then :meth:`advance`; at the end :meth:`finish`.

    Args:
        stream: what :meth:`Encoder.finish` gave, or what somebody says it gave.
    """

    def __init__(self, stream: bytes) -> None:
        self._stream = bytes(stream)
        self._taken = _BITS // 8  # bytes that are in the state, or would be if the stream were that long
        self._above_low = int.from_bytes(self._stream[: self._taken].ljust(self._taken, b"\0"), "big")
        self._range = _TOP
        if not stream:
            raise _ended()

    def target(self, total: int) -> int:
        """Where the next symbol lies: it is the one with low <= target < low + frequency.

        Args:
            total: of all symbols, at most 2^32.

        Raises:
            InputError: if the bits lie where no symbol does.
        """
        target = self._above_low // (self._range // total)
        if target >= total:
            raise InputError("the bits", seen="a number that no symbol has", hint=_HINT)
        return target

    def advance(self, low: int, frequency: int, total: int) -> None:
        """Go on behind the symbol that :meth:`target` of this total led to.

        Args:
            low: frequencies of the symbols before it, added up.
            frequency: its own.
            total: of all symbols.

        Raises:
            InputError: if the bits ended before.
            NumericsError: if this is no interval, or not the target's.
        """
        _require_interval(low, frequency, total)
        part = self._range // total
        self._above_low -= part * low
        self._range = part * frequency
        if not 0 <= self._above_low < self._range:
            raise NumericsError("a symbol to go on behind", seen=f"{low} + {frequency}", expected="that of the target")
        while self._range < _MIN_RANGE:
            byte = self._stream[self._taken] if self._taken < len(self._stream) else 0
            self._above_low = (self._above_low << 8) | byte
            self._range <<= 8
            self._taken += 1
        if self._num_settled >= len(self._stream):
            raise _ended()

    def decode_rows(self, counts: Ints) -> Ints:
        """Read a token under each row of frequencies.

        Args:
            counts: frequencies, (n, V); each row adds up to its total.

        Returns:
            Tokens, (n,), each of a frequency above 0.

        Raises:
            InputError: if the bits are not those of n tokens under these frequencies.
        """
        all_ends = counts.cumsum(axis=1)
        tokens = np.empty(len(counts), dtype=np.int64)
        for index, (row, ends) in enumerate(zip(counts, all_ends, strict=True)):
            total = int(ends[-1])
            token = int(ends.searchsorted(self.target(total), side="right"))
            frequency = int(row[token])
            self.advance(int(ends[token]) - frequency, frequency, total)
            tokens[index] = token
        return tokens

    def finish(self) -> None:
        """Check that the stream ends here, as an encoder would have ended it.

        Raises:
            InputError: if bits are left over, or the end is another.
        """
        left = len(self._stream) - self._num_settled - 1
        if left > 0:
            raise InputError("the bits", seen=f"{left:,} bytes behind their end", expected="none", hint=_HINT)
        if self._above_low >= _MIN_RANGE:
            raise InputError("the bits", seen="another last byte", expected="the one that ends them", hint=_HINT)

    @property
    def _num_settled(self) -> int:
        """Bytes that an encoder would have written by now, its last one apart."""
        return self._taken - _BITS // 8


_HINT = "the file is damaged, or this network's numbers are not those that it was written with"


def _ended() -> InputError:
    return InputError("the bits", seen="their end before the last symbol", hint=_HINT)


def _require_interval(low: int, frequency: int, total: int) -> None:
    if not (0 <= low < low + frequency <= total <= LARGEST_TOTAL):
        raise NumericsError(
            "a symbol to be coded", seen=f"{frequency} parts behind {low} of {total}",
            expected="1 or more parts, of a total of at most 2^32", hint="a token without any mass has no code",
        )  # fmt: skip
