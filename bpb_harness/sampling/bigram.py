"""A small model of neighbouring tokens, counted in the scored text itself, before any network has seen it.

It serves twice. How hard each window looks decides which windows share neighbouring mask rates (see
:mod:`bpb_harness.sampling.design`); what it says of a mask is subtracted from the network's answer (see
:mod:`bpb_harness.sampling.control_variate`). A poor model costs precision, never correctness: both leave every
expectation as it is, whatever the counts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
import numpy.typing as npt

from bpb_harness.text.corpus import Corpus, Windows

Ints = npt.NDArray[np.int64]

_NUM_BUCKETS = 1 << 20
_UNITS_PER_BIT = 1 << 16
_CHUNK_TOKENS = 1 << 20
_MAX_THREADS = 8

T = TypeVar("T")


@final
@dataclass(frozen=True)
class BigramCounts:
    """How often tokens and pairs of neighbours occur in a text.

    Pairs are hashed into a fixed number of buckets, so that memory does not grow with the vocabulary.

    Attributes:
        pairs: pairs of each bucket, (2^20,) int64.
        firsts: how often each token comes before another one, (largest such token + 1,) int64.
        last: the token before nothing.
    """

    pairs: Ints
    firsts: Ints
    last: int

    @property
    def tokens(self) -> Ints:
        """How often each token occurs, (largest token + 1,) int64."""
        counts = np.zeros(max(len(self.firsts), self.last + 1), dtype=np.int64)
        counts[: len(self.firsts)] = self.firsts
        counts[self.last] += 1
        return counts


def count_bigrams(corpus: Corpus, windows: Windows) -> BigramCounts:
    """Count the tokens of windows that lie end to end, and their pairs, also those across two windows.

    Args:
        corpus: the token stream.
        windows: what of it is scored, at least one.
    """
    counted = _in_threads(lambda chunk: _count(corpus, windows, chunk), _chunks(windows))
    pairs = np.zeros(_NUM_BUCKETS, dtype=np.int64)
    firsts = np.zeros(0, dtype=np.int64)
    for pair_counts, counts in counted:
        pairs += pair_counts
        longer, shorter = (firsts, counts) if len(firsts) >= len(counts) else (counts, firsts)
        longer[: len(shorter)] += shorter
        firsts = longer
    end = int(windows.starts[-1] + windows.lengths[-1])
    return BigramCounts(pairs, firsts, int(corpus.read(end - 1, end)[0]))


def bigram_difficulty(corpus: Corpus, windows: Windows, counts: BigramCounts) -> Ints:
    """Code length of each window under the smoothed bigram model of the windows themselves.

    Code lengths are summed as integers: the order of the windows must not hang on the last bit of a processor's
    logarithm.

    Args:
        corpus: the token stream.
        windows: what of it is scored.
        counts: of these very windows.

    Returns:
        (N,) int64, in units of 2^-16 bits.
    """
    return np.concatenate(_in_threads(lambda chunk: _code_lengths(corpus, windows, chunk, counts), _chunks(windows)))


def bucket_of(before: Ints, after: Ints) -> Ints:
    """The bucket of each pair of neighbours."""
    return (before * 1_000_003 + after) & (_NUM_BUCKETS - 1)  # a power of two


def _count(corpus: Corpus, windows: Windows, chunk: slice) -> tuple[Ints, Ints]:
    """How often each pair's bucket, and each token before another one, occurs in a run of windows."""
    tokens = _read(corpus, windows, chunk, beyond=chunk.stop < len(windows))
    # The pair that spans two runs belongs to the first of them.
    return np.bincount(bucket_of(tokens[:-1], tokens[1:]), minlength=_NUM_BUCKETS), np.bincount(tokens[:-1])


def _code_lengths(corpus: Corpus, windows: Windows, chunk: slice, counts: BigramCounts) -> Ints:
    """Code lengths of a run of windows."""
    firsts = counts.firsts
    tokens = _read(corpus, windows, chunk)
    before, after = tokens[:-1], tokens[1:]
    total, vocab_size = max(int(firsts.sum()), 1), len(firsts)
    # Interpolation with one pseudo-count of the unigram; the window's own pair is left out of its count.
    unigram = (firsts + 1.0) / (total + vocab_size + 1.0)
    unigram = np.append(unigram, 1.0 / (total + vocab_size + 1.0))
    pair = np.maximum(counts.pairs[bucket_of(before, after)] - 1, 0)
    # A token beyond the table never came before another one: it is the last of the text, or only in its tail.
    probability = (pair + unigram[np.minimum(after, vocab_size)]) / (np.append(firsts, 0) + 1.0)[
        np.minimum(before, vocab_size)
    ]
    units = np.rint(-np.log2(probability) * _UNITS_PER_BIT).astype(np.int64)
    summed = np.concatenate([[0], np.cumsum(units)])
    begins = windows.starts[chunk] - windows.starts[chunk.start]
    return np.asarray(summed[begins + windows.lengths[chunk] - 1] - summed[begins], dtype=np.int64)


def _read(corpus: Corpus, windows: Windows, chunk: slice, *, beyond: bool = False) -> Ints:
    """The tokens of a run of windows, and the one after it."""
    last = chunk.stop - 1
    return corpus.read(int(windows.starts[chunk.start]), int(windows.starts[last] + windows.lengths[last]) + beyond)


def _chunks(windows: Windows) -> list[slice]:
    """Runs of windows of about a million tokens."""
    if not len(windows):
        return []
    assert (windows.starts[1:] == windows.starts[:-1] + windows.lengths[:-1]).all(), "windows lie end to end"
    run = (windows.starts - windows.starts[0]) // _CHUNK_TOKENS
    borders = [*np.flatnonzero(np.diff(run, prepend=-1)), len(windows)]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(borders)]


def _in_threads(work: Callable[[slice], T], chunks: list[slice]) -> list[T]:
    """Results in the order of the chunks; NumPy lets other threads run while it computes."""
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, chunks))
