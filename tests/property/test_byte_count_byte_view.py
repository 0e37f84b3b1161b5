"""A token's bits over its bytes: nothing is lost, shares are even."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.byte_count import byte_spans, spread_over_bytes
from tests.tiers import times

ROWS = st.lists(
    st.tuples(st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(0, 40)),
    max_size=30,
)


@settings(max_examples=times(100, thorough=600), deadline=None, derandomize=True)
@given(rows=ROWS)
def test_shares_sum_exactly_and_are_even(rows):
    bits = np.array([bits for bits, _ in rows], np.float64)
    num_bytes = np.array([num for _, num in rows], np.int64)
    view = spread_over_bytes(bits, num_bytes)
    assert len(view.bits) == sum(max(1, num) for _, num in rows)
    assert int(view.num_bytes.sum()) == int(num_bytes.sum())
    assert math.fsum(view.bits) == math.fsum(bits)
    spans = byte_spans(num_bytes)
    for token, (value, num) in enumerate(rows):
        of_token = view.token == token
        shares = view.bits[of_token]
        assert sum(map(Fraction, shares), Fraction(0)) == Fraction(value)
        assert float(np.sum(shares[::-1])) == value, "in any order"
        assert np.ptp(shares) <= np.spacing(abs(value))
        assert view.start[of_token].tolist() == list(range(spans[token, 0], spans[token, 1] or 0)) or num == 0
        assert set(view.num_bytes[of_token].tolist()) == {min(num, 1)}


def test_a_token_without_bytes_keeps_a_row_of_its_own():
    view = spread_over_bytes(np.array([2.5, 3.0]), np.array([0, 2]))
    assert view.bits.tolist() == [2.5, 1.5, 1.5]
    assert view.token.tolist() == [0, 1, 1]
    assert view.start.tolist() == [0, 0, 1]
    assert view.num_bytes.tolist() == [0, 1, 1]
