"""Pieces that lie end to end."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.errors import UsageError
from bpb_harness.text.spans import cut, require_prefix, sliding


@pytest.mark.parametrize(
    ("begin", "end", "length", "later", "tail", "expected"),
    [
        (3, 3, 4, None, "score", []),
        (3, 5, 4, None, "score", [(3, 2)]),
        (3, 5, 4, 1, "score", [(3, 2)]),
        (3, 5, 4, None, "drop", []),
        (3, 5, 4, 2, "drop", []),
        (3, 6, 4, 2, "drop", []),
        (3, 11, 4, None, "drop", [(3, 4), (7, 4)]),
        (3, 10, 4, None, "drop", [(3, 4)]),
        (3, 12, 4, 2, "score", [(3, 4), (7, 2), (9, 2), (11, 1)]),
        (3, 12, 4, 2, "drop", [(3, 4), (7, 2), (9, 2)]),
        (0, 7, 4, 3, "drop", [(0, 4), (4, 3)]),
    ],
)
def test_a_cut_leaves_no_gap(begin, end, length, later, tail, expected):
    starts, ends = cut(begin, end, length, later=later, tail=tail)
    assert list(zip(starts.tolist(), (ends - starts).tolist(), strict=True)) == expected
    assert starts.dtype == ends.dtype == np.int64


@pytest.mark.parametrize("prefix", [-1, 8])
def test_a_prefix_leaves_something_of_a_window(prefix):
    require_prefix(0, 8)
    require_prefix(7, 8)
    with pytest.raises(UsageError) as refused:
        require_prefix(prefix, 8)
    assert str(refused.value) == f"--unpaid-prefix: got {prefix}, expected 0 .. 7, below the tokens of a window"


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_is_of_one_token_to_a_context(stride):
    assert sliding(0, 6, 4, 1).starts.tolist() == [0, 4, 5]
    assert sliding(0, 6, 4, 4).starts.tolist() == [0, 4]
    with pytest.raises(UsageError, match=rf"^--stride: got {stride}, expected 1 \.\. 4, the context length"):
        sliding(0, 6, 4, stride)
