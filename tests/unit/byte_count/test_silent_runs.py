"""Runs of a token that spells nothing, against counting one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bpb_harness.byte_count import validity as padding
from bpb_harness.byte_count.validity import LONGEST_RUN, SilentRuns, silent_runs


class Stream:
    def __init__(self, tokens):
        self.tokens = np.array(tokens, np.int64)

    def read(self, start, stop):
        return self.tokens[start:stop]


def one_by_one(tokens, silent):
    repeated, best, at = 0, (0, 0, 0), 0
    for token, group in itertools.groupby(tokens):
        length = len(list(group))
        if token in silent and length > 1:
            repeated += length - 1
            best = best if best[0] >= length else (length, token, at)
        at += length
    return SilentRuns(repeated, *best)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("seed", range(6))
def test_against_counting(monkeypatch, chunk, seed):
    monkeypatch.setattr(padding, "_CHUNK_TOKENS", chunk)
    tokens = np.random.default_rng(seed).integers(0, 3, 200).repeat(1 + seed % 3)
    silent = np.array([True, seed % 2 == 1, False])
    for stop in (len(tokens), 40, 1):
        expected = one_by_one(tokens[:stop].tolist(), set(np.flatnonzero(silent).tolist()))
        assert silent_runs(Stream(tokens), silent, stop) == expected


def test_what_is_padding():
    silent = np.array([True, False])
    for length in (LONGEST_RUN, LONGEST_RUN + 1):
        found = silent_runs(Stream([1, *[0] * length, 1]), silent, length + 2)
        assert (found.longest, found.is_padding) == (length, length > LONGEST_RUN)
    assert not silent_runs(Stream([1] * 100), silent, 100).is_padding, "text may repeat itself"
    assert silent_runs(Stream([0, 1, 0]), silent, 3) == SilentRuns()
