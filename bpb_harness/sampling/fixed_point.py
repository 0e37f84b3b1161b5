"""Logarithms as whole numbers: the same on every processor and GPU, whose sums are the same in every order.

The control variate subtracts code lengths of a small model. Any model serves, so it may be one whose logarithms come
out of a table: between two entries a straight line, wrong by 1.1e-8 bits at most, and by what whole units of 2^-24 bits
leave out: 1.1e-7 bits in all. What is made of whole numbers alone is what it is, to the last bit, wherever it is
computed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def log2_units(values: Floats) -> Ints:
    """log2 of positive normal numbers, in units of 2^-24 bits; elementwise."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    index = (bits >> INDEX_SHIFT) & INDEX_MASK
    on_line = (_RISES[index] * ((bits >> REST_SHIFT) & REST_MASK)) >> UNITS_BITS
    exponent = (bits >> MANTISSA_BITS) - EXPONENT_BIAS
    return np.asarray((exponent << UNITS_BITS) + LOG2_TABLE[index] + on_line)
