"""Logarithms of whole numbers of units: near the real ones, and the same for ever."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.sampling.control_variate import LOG2_TABLE, UNITS_BITS, log2_units


@given(st.floats(2.0**-60, 2.0**60))
def test_they_are_logarithms(value: float) -> None:
    (units,) = log2_units(np.array([value])).tolist()
    # The line lies 1.1e-8 bits below the curve at most; an entry, and what is cut off, may each be one unit.
    assert abs(units / (1 << UNITS_BITS) - math.log2(value)) < 1.1e-8 + 1.5 / (1 << UNITS_BITS)


def test_powers_of_two_are_exact_and_neighbours_in_order() -> None:
    exponents = np.arange(-60, 61)
    assert log2_units(2.0**exponents).tolist() == (exponents << UNITS_BITS).tolist()
    below_one = np.nextafter(np.ones(1), 0.0)
    assert -2 <= log2_units(below_one)[0] <= 0


def test_the_table_is_what_scores_were_made_with() -> None:
    """Another table is another control variate: numbers of scores would move."""
    assert (LOG2_TABLE[0], LOG2_TABLE[-1], len(LOG2_TABLE)) == (0, 1 << UNITS_BITS, 4097)
    assert hashlib.sha256(LOG2_TABLE.astype("<i8").tobytes()).hexdigest()[:16] == "a92a11731fefbf5c"
