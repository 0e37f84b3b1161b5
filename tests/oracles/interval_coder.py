"""The coder of a file of bits by its definition: an interval of exact fractions, never cut into bytes before the end.

The interval starts as [0, 1). While it is narrower than 2^-8 of the scale 256^-k, k grows. A symbol (low, frequency,
total) takes its parts of it, a part being width / total rounded down to a multiple of 2^-64 of that scale. The stream
is the k + 1 bytes of the smallest multiple of 256^-(k+1) in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

Symbol = tuple[int, int, int]


class _Interval:
    def __init__(self) -> None:
        self.start, self.width, self.scale = Fraction(0), Fraction(1), Fraction(1)

    def part(self, total: int) -> Fraction:
        unit = self.scale / 2**64
        return math.floor(self.width / (total * unit)) * unit

    def narrow(self, low: int, frequency: int, total: int) -> None:
        part = self.part(total)
        self.start, self.width = self.start + part * low, part * frequency
        while self.width < self.scale / 256:
            self.scale /= 256


def encode(symbols: Iterable[Symbol]) -> bytes:
    """The stream of some symbols, each (low, frequency, total)."""
    interval = _Interval()
    for symbol in symbols:
        interval.narrow(*symbol)
    step = interval.scale / 256
    number = math.ceil(interval.start / step)
    assert number * step < interval.start + interval.width
    return number.to_bytes(round(math.log(step.denominator, 256)), "big")


def decode(stream: bytes, tables: Iterable[list[int]]) -> list[int]:
    """Symbols of a stream; each table is the frequencies of one of them."""
    value = Fraction(int.from_bytes(stream, "big"), 256 ** len(stream))
    interval, symbols = _Interval(), []
    for table in tables:
        part, low, symbol = interval.part(sum(table)), 0, 0
        while interval.start + part * (low + table[symbol]) <= value:
            low, symbol = low + table[symbol], symbol + 1
        interval.narrow(low, table[symbol], sum(table))
        symbols.append(symbol)
    assert len(stream) == round(math.log((interval.scale / 256).denominator, 256))
    return symbols


def ideal_bits(symbols: Iterable[Symbol]) -> float:
    """The sum of -log2 frequency / total, from the exact product."""
    product = Fraction(1)
    for _, frequency, total in symbols:
        product *= Fraction(total, frequency)
    n, d = product.numerator, product.denominator
    return math.log2(n) - math.log2(d)
