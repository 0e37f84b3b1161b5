"""Spans: some tokens given others."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.text.spans import Spans
from tests.spans import end_to_end


def test_lengths_are_of_targets_contexts_and_both():
    spans = Spans(np.array([1, 1, 7]), np.array([1, 4, 9]), np.array([3, 8, 10]))
    assert spans.lengths.tolist() == [2, 4, 1]
    assert spans.context_lengths.tolist() == [0, 3, 2]
    assert spans.input_lengths.tolist() == [2, 7, 3]
    assert (len(spans), spans.num_tokens) == (3, 7)
    assert spans.have_context
    assert not spans.take(slice(1)).have_context
    assert not end_to_end([3, 4]).have_context


@pytest.mark.parametrize(
    ("which", "expected"), [(slice(2), [1, 5]), (slice(None), [1, 5, 9]), (np.array([2, 0]), [9, 1])]
)
def test_some_spans_are_of_the_same_kind(which, expected):
    some = Spans(np.array([0, 4, 6]), np.array([1, 5, 9]), np.array([5, 9, 11])).take(which)
    assert isinstance(some, Spans)
    assert some.starts.tolist() == expected
    assert len(some.ends) == len(some.context_starts) == len(some) == len(expected)


def test_arrays_are_of_one_length():
    with pytest.raises(AssertionError):
        Spans(np.array([0]), np.array([0, 1]), np.array([1, 2]))
