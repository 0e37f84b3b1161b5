"""Pieces that lie end to end."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.text.layouts.cut import cut


@pytest.mark.parametrize(
    ("begin", "end", "length", "later", "tail", "expected"),
    [
        (3, 3, 4, None, "score", []),
        (3, 5, 4, None, "score", [(3, 2)]),
        (3, 5, 4, 1, "score", [(3, 2)]),
        (3, 5, 4, None, "drop", []),
        (3, 5, 4, 2, "drop", []),
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
