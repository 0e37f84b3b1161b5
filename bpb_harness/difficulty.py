"""How hard each window is, guessed from the corpus alone, for free.

The order of this guess decides which windows share neighbouring mask rates (see :mod:`bpb_harness.masking`). A poor
guess costs precision, never correctness: the design stays unbiased whatever the order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bpb_harness.corpus import Corpus, Windows

_NUM_BUCKETS = 1 << 20
_UNITS_PER_BIT = 1 << 16


def bigram_difficulty(corpus: Corpus, windows: Windows) -> npt.NDArray[np.int64]:
    """Code length of each window under the smoothed bigram model of the windows themselves.

    Pairs are hashed into a fixed number of buckets, so that memory does not grow with the vocabulary. Code lengths are
    summed as integers: the order of the windows must not hang on the last bit of a processor's logarithm.

    Args:
        corpus: the token stream.
        windows: what of it is scored.

    Returns:
        (N,) int64, in units of 2^-16 bits.
    """
    pairs = np.zeros(_NUM_BUCKETS, dtype=np.int64)
    firsts = np.zeros(0, dtype=np.int64)
    for chunk in _chunks(corpus, windows):
        pairs += np.bincount(_bucket(chunk[:-1], chunk[1:]), minlength=_NUM_BUCKETS)
        counts = np.bincount(chunk[:-1])
        firsts, shorter = (firsts, counts) if len(firsts) >= len(counts) else (counts, firsts)
        firsts[: len(shorter)] += shorter
    total = max(int(firsts.sum()), 1)
    vocab_size = len(firsts)
    difficulty = np.zeros(len(windows), dtype=np.int64)
    for index, (start, length) in enumerate(zip(windows.starts, windows.lengths, strict=True)):
        tokens = corpus.read(int(start), int(start + length))
        before, after = tokens[:-1], tokens[1:]
        seen_before = _lookup(firsts, before)
        # Interpolation with one pseudo-count of the unigram; the window's own pair is left out of its count.
        unigram = (_lookup(firsts, after) + 1.0) / (total + vocab_size + 1.0)
        pair = np.maximum(pairs[_bucket(before, after)] - 1, 0)
        probability = (pair + unigram) / (seen_before + 1.0)
        difficulty[index] = np.rint(-np.log2(probability) * _UNITS_PER_BIT).astype(np.int64).sum()
    return difficulty


def _chunks(corpus: Corpus, windows: Windows, size: int = 1 << 22) -> list[npt.NDArray[np.int64]]:
    """The scored stretch of the corpus, piece by piece."""
    begin = int(windows.starts[0])
    end = int(windows.starts[-1] + windows.lengths[-1])
    return [corpus.read(start, min(start + size, end)) for start in range(begin, end, size)]


def _bucket(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (before * 1_000_003 + after) % _NUM_BUCKETS


def _lookup(table: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``table[ids]``, 0 beyond its end."""
    inside = ids < len(table)
    return np.where(inside, table[np.minimum(ids, len(table) - 1)], 0)
