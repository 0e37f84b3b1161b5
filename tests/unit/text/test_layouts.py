"""Every layout against the same laid token by token."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.errors import UsageError
from bpb_harness.text.spans import blocks, sliding, windows, within_documents

BEGINS, SIZES, LENGTHS = st.integers(0, 5), st.integers(0, 40), st.integers(1, 9)


def paid_for(spans):
    """Which token is paid for by which span, as (token, first token that is visible, end)."""
    rows = zip(spans.context_starts.tolist(), spans.starts.tolist(), spans.ends.tolist(), strict=True)
    return [(token, context, end) for context, start, end in rows for token in range(start, end)]


@given(BEGINS, SIZES, LENGTHS, st.data())
def test_windows_with_a_prefix(begin, size, length, data):
    prefix, end = data.draw(st.integers(0, length - 1)), begin + size
    expected = []
    for token in range(begin, end):
        window = begin + (token - begin) // length * length
        if token - window >= prefix:
            expected.append((token, window, min(window + length, end)))
    assert paid_for(windows(begin, end, length, unpaid_prefix=prefix)) == expected


@given(BEGINS, SIZES, LENGTHS, st.data())
def test_sliding_windows(begin, size, length, data):
    stride, end = data.draw(st.integers(1, length)), begin + size
    expected = []
    for token in range(begin, end):
        place = token - begin
        stop = begin + length if place < length else begin + length + ((place - length) // stride + 1) * stride
        stop = min(stop, end)
        expected.append((token, max(begin, stop - length), stop))
    assert paid_for(sliding(begin, end, length, stride)) == expected


@given(BEGINS, SIZES, st.integers(1, 4), st.integers(1, 4), st.data())
def test_blocks_within_windows(begin, size, block, count, data):
    end, length = begin + size, block * count
    prefix = data.draw(st.integers(0, length - 1))
    expected, behind = [], []
    for token in range(begin, end):
        window = begin + (token - begin) // length * length
        stop = begin + ((token - begin) // block + 1) * block
        expected.append((token, window, min(stop, end)))
        if token - window >= prefix:
            behind.append(expected[-1])
    assert paid_for(blocks(begin, end, length, block)) == expected
    assert paid_for(blocks(begin, end, length, block, unpaid_prefix=prefix)) == behind
    full = size // length * length
    dropped = blocks(begin, end, length, block, tail="drop")
    assert paid_for(dropped) == paid_for(blocks(begin, begin + full, length, block))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), LENGTHS, st.data())
def test_documents_are_laid_out_by_themselves(sizes, length, data):
    stride = data.draw(st.integers(1, length))
    starts, end = np.cumsum([0, *sizes[:-1]]), sum(sizes)
    expected = []
    for start, size in zip(starts.tolist(), sizes, strict=True):
        expected += paid_for(sliding(start, start + size, length, stride))
    laid = within_documents(starts, end, partial(sliding, context_length=length, stride=stride))
    assert paid_for(laid) == expected


@given(SIZES, LENGTHS, st.data())
def test_what_is_visible_never_lies_behind_what_is_paid(size, length, data):
    stride = data.draw(st.integers(1, length))
    for laid in (sliding(0, size, length, stride), blocks(0, size, length * stride, stride), windows(0, size, length)):
        assert (laid.context_starts <= laid.starts).all()
        assert (laid.starts < laid.ends).all()
        assert laid.starts.tolist() == [0, *laid.ends.tolist()[:-1]][: len(laid)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sliding(0, 9, 8, 9), "--stride: got 9, expected 1 .. 8, the context length"),
        (lambda: sliding(0, 9, 8, 0), "--stride: got 0, expected 1 .. 8, the context length"),
        (
            lambda: blocks(0, 9, 8, 3),
            "--block-size: got 3, expected a divisor of 8, the tokens of a window; pass --context L, a multiple of it",
        ),
        (
            lambda: blocks(0, 9, 8, 16),
            "--block-size: got 16, expected a divisor of 8, the tokens of a window; pass --context L, a multiple of it",
        ),
        (
            lambda: windows(0, 9, 8, unpaid_prefix=8),
            "--unpaid-prefix: got 8, expected 0 .. 7, below the tokens of a window",
        ),
    ],
)
def test_what_does_not_fit_a_window_is_refused(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message
