"""Where the spans of causal networks lie: by strides, and within documents."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from bpb_harness.text.spans import sliding, within_documents


def spans(num_tokens, context, stride=None, tail="score", documents=None):
    known = documents is None
    layout = partial(sliding, context_length=context, stride=stride or context, given=1, tail=tail, end_is_known=known)
    if documents is None:
        laid = layout(0, num_tokens)
    else:
        laid = within_documents(np.array(documents), num_tokens, layout, given=1)
    assert {laid.context_starts.dtype, laid.starts.dtype, laid.ends.dtype} == {np.dtype(np.int64)}
    assert len(laid) == len(laid.starts)
    return list(zip(laid.context_starts.tolist(), laid.starts.tolist(), laid.lengths.tolist(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 4), []),
        ((2, 4), [(0, 1, 1)]),
        ((9, 4), [(0, 1, 4), (4, 5, 4)]),
        ((10, 4), [(0, 1, 4), (4, 5, 4), (5, 9, 1)]),
        ((10, 4, None, "drop"), [(0, 1, 4), (4, 5, 4)]),
        ((9, 4, None, "drop"), [(0, 1, 4), (4, 5, 4)]),
        ((4, 4, None, "drop"), []),
        ((9, 4, 4), [(0, 1, 4), (4, 5, 4)]),
        ((7, 4, 1), [(0, 1, 4), (1, 5, 1), (2, 6, 1)]),
        ((10, 4, 3), [(0, 1, 4), (3, 5, 3), (5, 8, 2)]),
        ((10, 4, 3, "drop"), [(0, 1, 4), (3, 5, 3)]),
        ((10, 4, None, "score", [0, 3]), [(0, 1, 3), (3, 4, 4), (7, 8, 2)]),
        ((10, 4, None, "drop", [0, 6]), [(0, 1, 4)]),
        ((10, 4, None, "score", [0, 6, 9]), [(0, 1, 4), (4, 5, 2), (6, 7, 3)]),
        ((10, 4, 2, "score", [2, 6]), [(0, 1, 4), (2, 5, 2), (6, 7, 3)]),
    ],
)
def test_spans(arguments, expected):
    assert spans(*arguments) == expected


@pytest.mark.parametrize("stride", [None, 1, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 8, 9, 17, 30])
def test_every_token_but_the_first_is_paid_for_once(stride, length):
    laid = spans(length, 8, stride)
    assert [i for _, start, n in laid for i in range(start, start + n)] == list(range(1, length))
    assert all(start + n - 1 - context <= 8 for context, start, n in laid)


def test_without_stride_windows_are_the_official_evaluators():
    assert spans(30, 8, tail="drop") == [(0, 1, 8), (8, 9, 8), (16, 17, 8)]


def test_documents_are_not_looked_across():
    laid = spans(20, 8, documents=[0, 5, 11])
    assert not any(context < border < start for context, start, _ in laid for border in (5, 11))
    assert sum(n for *_, n in laid) == 19


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_how_much_is_visible_does_not_tell_where_a_document_ends(stride):
    """Where a span begins decides where its context does, in documents of every length."""
    seen = {}
    for size in range(1, 24):
        for context, start, _ in spans(3 + size + 5, 4, stride, documents=[0, 3, 3 + size]):
            if 3 <= context < 3 + size:
                assert seen.setdefault(start, context) == context


def test_a_last_document_may_be_empty():
    for documents in ([0, 4, 9], [0, 9], [0, 4, 8]):
        assert [i for _, start, n in spans(9, 4, 2, documents=documents) for i in range(start, start + n)] == [
            *range(1, 9)
        ]
