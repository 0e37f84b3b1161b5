"""Many counters at once give the words that NumPy's generator gives one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.sampling.streams import words_of_many

WORD = st.integers(0, 2**64 - 1)


@given(WORD, WORD, st.lists(st.integers(0, 2**63 - 1), max_size=9))
def test_they_are_numpys(seed, purpose, windows):
    words = words_of_many((seed, purpose), np.array(windows, dtype=np.int64), 0, 1)[:, 0]
    assert words.dtype == np.uint64
    key = np.array([seed, purpose], dtype=np.uint64)
    for word, window in zip(words.tolist(), windows, strict=True):
        counter = np.array([0, window, 0, 0], dtype=np.uint64)
        assert word == np.random.Philox(key=key, counter=counter).random_raw()
