"""Chunks: what is scored before what is learnt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.adaptation.chunks import cut_chunks
from bpb_harness.errors import UsageError
from bpb_harness.text.spans import Spans
from tests.spans import end_to_end


@st.composite
def texts(draw) -> tuple[Spans, bool]:
    """Spans that partition a text, some with contexts; of a causal network the first token is given."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    is_causal = draw(st.booleans())
    plain = end_to_end(lengths, begin=int(is_causal))
    contexts = np.array(draw(st.lists(st.integers(0, 20), min_size=len(lengths), max_size=len(lengths))))
    return Spans(np.maximum(plain.starts - contexts - is_causal, 0), plain.starts, plain.ends), is_causal


@given(texts(), st.integers(1, 30))
def test_nothing_is_handed_over_before_it_is_paid_for_and_nothing_twice(text, chunk_tokens):
    spans, is_causal = text
    chunks = cut_chunks(spans, chunk_tokens, is_causal=is_causal)
    scored, paid, learnt = [], set(), []
    for index, chunk in enumerate(chunks):
        assert chunk.index == index
        scored += range(chunk.first, chunk.stop)
        for row in range(chunk.first, chunk.stop):
            paid |= set(range(spans.starts[row], spans.ends[row]))
        targets = list(range(chunk.begin + is_causal, chunk.end))
        assert set(targets) <= paid
        assert len(targets) == chunk_tokens or index == len(chunks) - 1
        learnt += targets
        if is_causal:
            assert chunk.begin in paid or chunk.begin == spans.starts[0] - 1  # the token that is given
    assert scored == list(range(len(spans)))
    assert learnt == list(range(spans.starts[0], spans.ends[-1]))


@given(texts(), st.integers(1, 30))
def test_no_span_waits_for_a_later_chunk_than_that_of_its_first_target(text, chunk_tokens):
    spans, is_causal = text
    for chunk in cut_chunks(spans, chunk_tokens, is_causal=is_causal):
        for row in range(chunk.first, chunk.stop):
            assert (spans.starts[row] - spans.starts[0]) // chunk_tokens == chunk.index


def test_a_chunk_that_an_earlier_span_has_paid_for_has_nothing_to_score():
    chunks = cut_chunks(end_to_end([8, 4]), 3, is_causal=False)
    assert [(chunk.first, chunk.stop) for chunk in chunks] == [(0, 1), (1, 1), (1, 2), (2, 2)]
    assert [(chunk.begin, chunk.end) for chunk in chunks] == [(0, 3), (3, 6), (6, 9), (9, 12)]


def test_tokens_that_nobody_pays_for_are_refused_by_their_place():
    spans = Spans.without_context(np.array([0, 6]), np.array([4, 9]))
    with pytest.raises(UsageError, match=r"all of them in order: got tokens 4 \.\. 5, which are given"):
        cut_chunks(spans, 4, is_causal=False)
