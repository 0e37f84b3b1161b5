"""Integers in place of probabilities: known answers and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpb_harness.errors import NumericsError
from bpb_harness.proof.frequencies import LARGEST_VOCABULARY, frequencies, total_of


def test_totals():
    assert [total_of(v) for v in (1, 10_000, 10_001, LARGEST_VOCABULARY)] == [2**24, 2**24, 2**32, 2**32]
    for wrong in (0, -1, LARGEST_VOCABULARY + 1):
        with pytest.raises(NumericsError, match=r"a vocabulary to be coded: got .* tokens, expected 1 to 4,194,304"):
            total_of(wrong)


def test_by_hand():
    total = 2**24
    # (total - 4) / 8 ends in .5: cut, and what is left goes to the first of the two most probable.
    counts = frequencies(np.log([0.125, 0.375, 0.375, 0.125]))
    eighth, three = 1 + (total - 4) // 8, 1 + 3 * (total - 4) // 8
    assert counts.dtype == np.int64
    assert counts.tolist() == [eighth, three + total - 2 * (eighth + three), three, eighth]
    assert eighth + three < total / 2


def test_nothing_is_left_over_of_powers_of_two():
    counts = frequencies(np.full(4, -math.log(4)))
    assert counts.tolist() == [2**22] * 4


def test_tokens_without_mass():
    assert frequencies(np.array([0.0, -np.inf])).tolist() == [2**24, 0]
    assert frequencies(np.array([-2000.0, 0.0])).tolist() == [1, 2**24 - 1]
    assert frequencies(np.array([0.0])).tolist() == [2**24]


def test_a_sum_that_rounding_made_is_divided_out():
    row = np.log([0.25, 0.75])
    assert frequencies(row + 9e-5).tolist() == frequencies(row).tolist()
    assert frequencies(row - 9e-5).tolist() == frequencies(row).tolist()
    more = np.full(150_000, -math.log(150_000) + 9e-5)
    assert int(frequencies(more).sum()) == 2**32
    assert int(frequencies(more).min()) > 0


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ([0.0, np.nan], "nan"),
        ([0.0, np.inf], "inf"),
        ([0.0, 1000.0], "inf"),
        ([-np.inf, -np.inf], "0"),
        (np.log([0.5, 0.5]) + 1.1e-4, "1.00011"),
        (np.log([0.5, 0.5]) - 1.1e-4, "0.99989"),
    ],
)
def test_what_is_no_distribution(row, seen):
    text = (
        f"a prediction to be coded: got probabilities that add up to {seen}, expected 1; the network's logits hold NaN "
        "or infinity, or they are not normalised"
    )
    for rows in (np.array(row), np.stack([np.log([0.5, 0.5]), row])):
        with pytest.raises(NumericsError) as caught:
            frequencies(rows)
        assert str(caught.value) == text


def test_rows_are_counted_each_alone():
    rows = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    counts = frequencies(rows)
    assert counts.sum(axis=1).tolist() == [2**24] * 3
    assert counts.tolist() == [frequencies(row).tolist() for row in rows]


def test_single_precision_is_widened_first():
    rows = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).astype(np.float32)
    assert frequencies(rows).tolist() == frequencies(rows.astype(np.float64)).tolist()


def test_shapes():
    row = np.log([0.5, 0.25, 0.25])
    assert frequencies(row).shape == (3,)
    assert frequencies(row[None]).shape == (1, 3)
    assert frequencies(np.empty((0, 3))).shape == (0, 3)
    given = row.copy()
    frequencies(given)
    assert given.tolist() == row.tolist()
