"""A small model of neighbouring tokens, counted in the scored text itself, before any network has seen it.

It serves twice. How hard each span looks decides which spans share neighbouring mask rates (see
:mod:`bpb_harness.sampling.design`); what it says of a mask is subtracted from the network's answer (see
:mod:`bpb_harness.sampling.control_variate`). A poor model costs precision, never correctness: both leave every
expectation as it is, whatever the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
import numpy.typing as npt

from bpb_harness.distributed import Processes
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import TOKENS_IN_CACHE, Spans, runs_of
from bpb_harness.torchrun import num_cores

Ints = npt.NDArray[np.int64]

_NUM_BUCKETS = 1 << 20  # a power of two
BUCKET_STEP, BUCKET_MASK = 1_000_003, _NUM_BUCKETS - 1
_UNITS_PER_BIT = 1 << 16
_CHUNK_TOKENS = 1 << 18
_MAX_THREADS = 4  # each holds some 10 MB

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


def count_bigrams(corpus: Corpus, spans: Spans, processes: Processes | None = None) -> BigramCounts:
    """Count tokens and pairs from the first that a span sees to the last that is paid for, each once.

    Args:
        corpus: the token stream.
        spans: what of it is scored, at least one.
        processes: each counts a part; this one all of it if None.
    """
    together = processes or Processes()
    begin, end = int(spans.context_starts.min()), int(spans.ends.max())
    chunks = [slice(start, min(start + _CHUNK_TOKENS, end)) for start in range(begin, end, _CHUNK_TOKENS)]
    own = chunks[together.part(len(chunks))]

    def count(some: slice) -> tuple[Ints, Ints]:
        """One thread's chunks, added up as they come: the counts of one are megabytes."""
        return _added(_count(corpus, chunk, end) for chunk in own[some])

    threads = max(1, min(_MAX_THREADS, num_cores(), len(own)))
    counted = together.together(lambda: _added(in_threads(count, [slice(at, None, threads) for at in range(threads)])))
    return BigramCounts(*_added(counted), int(corpus.read(end - 1, end)[0]))


def bigram_difficulty(corpus: Corpus, spans: Spans, counts: BigramCounts) -> Ints:
    """Code length of each span's targets, given its context, under the smoothed bigram model of the text itself.

    Code lengths are summed as integers: the order of the spans must not hang on the last bit of a processor's
    logarithm.

    Args:
        corpus: the token stream.
        spans: what of it is scored, in the order of their targets.
        counts: of these very spans, and maybe of others around them.

    Returns:
        (N,) int64, in units of 2^-16 bits.
    """
    each = in_threads(lambda chunk: _code_lengths(corpus, spans, chunk, counts), runs_of(spans, TOKENS_IN_CACHE))
    return np.concatenate(each) if each else np.zeros(0, dtype=np.int64)


def bucket_of(before: Ints, after: Ints) -> Ints:
    """The bucket of each pair of neighbours."""
    return (before * BUCKET_STEP + after) & BUCKET_MASK


def _count(corpus: Corpus, chunk: slice, end: int) -> tuple[Ints, Ints]:
    """How often each pair's bucket, and each token before another one, occurs in a chunk of the text."""
    # The pair that spans two chunks belongs to the first of them.
    tokens = corpus.read(chunk.start, min(chunk.stop + 1, end))
    return np.bincount(bucket_of(tokens[:-1], tokens[1:]), minlength=_NUM_BUCKETS), np.bincount(tokens[:-1])


def _added(counted: Iterable[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Counts of several parts of a text as one; those of a single part are handed through."""
    parts = iter(counted)
    pairs, firsts = next(parts, None) or (np.zeros(_NUM_BUCKETS, dtype=np.int64), np.zeros(0, dtype=np.int64))
    for index, (pair_counts, counts) in enumerate(parts):
        pairs = np.add(pairs, pair_counts, out=pairs if index else None)  # the first sum is memory of its own
        firsts = np.concatenate([firsts, np.zeros(max(len(counts) - len(firsts), 0), dtype=np.int64)])
        firsts[: len(counts)] += counts
    return pairs, firsts


def _code_lengths(corpus: Corpus, spans: Spans, chunk: slice, counts: BigramCounts) -> Ints:
    """Code lengths of a run of spans."""
    spans, firsts = spans.take(chunk), counts.firsts
    # The token before the first target is seen, where there is a context.
    seen_from = np.maximum(spans.starts - 1, spans.context_starts)
    begin = int(seen_from[0])
    tokens = corpus.read(begin, int(spans.ends[-1]))
    before, after = tokens[:-1], tokens[1:]
    total, vocab_size = max(int(firsts.sum()), 1), len(firsts)
    # Interpolation with one pseudo-count of the unigram; the pair itself is left out of its count.
    unigram = (firsts + 1.0) / (total + vocab_size + 1.0)
    unigram = np.append(unigram, 1.0 / (total + vocab_size + 1.0))
    pair = np.maximum(counts.pairs[bucket_of(before, after)] - 1, 0)
    # A token beyond the table never came before another one: it is the last of the text, or only in its tail.
    probability = (pair + unigram[np.minimum(after, vocab_size)]) / (np.append(firsts, 0) + 1.0)[
        np.minimum(before, vocab_size)
    ]
    units = np.rint(-np.log2(probability) * _UNITS_PER_BIT).astype(np.int64)
    summed = np.concatenate([[0], np.cumsum(units)])
    return np.asarray(summed[spans.ends - 1 - begin] - summed[seen_from - begin], dtype=np.int64)


def in_threads(work: Callable[[slice], T], chunks: list[slice]) -> list[T]:
    """Results in the order of the chunks; NumPy lets other threads run while it computes."""
    if len(chunks) <= 1:
        return [work(chunk) for chunk in chunks]
    with ThreadPoolExecutor(min(_MAX_THREADS, num_cores())) as pool:
        return list(pool.map(work, chunks))
