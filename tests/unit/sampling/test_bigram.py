"""The free guess of how hard a window is."""

import itertools
import math
from collections import Counter

import numpy as np

from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard
from tests.spans import windows_of


def plain_difficulty(tokens, windows):
    """The same smoothed bigram model in plain Python, without buckets."""
    scored = tokens[windows.starts[0] : windows.starts[-1] + windows.lengths[-1]]
    pairs, firsts = Counter(itertools.pairwise(scored)), Counter(scored[:-1])
    vocabulary = max(firsts) + 1
    result = []
    for start, length in zip(windows.starts, windows.lengths, strict=True):
        bits = 0
        for a, b in zip(tokens[start : start + length - 1], tokens[start + 1 : start + length], strict=True):
            unigram = (firsts[b] + 1) / (sum(firsts.values()) + vocabulary + 1)
            bits += round(-math.log2((max(pairs[a, b] - 1, 0) + unigram) / (firsts[a] + 1)) * 65536)
        result.append(bits)
    return result


def difficulty_of(corpus, windows):
    return bigram_difficulty(corpus, windows, count_bigrams(corpus, windows))


def test_it_is_the_smoothed_bigram_code_length(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 50, 1000)
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    windows = windows_of(corpus, 64)
    assert difficulty_of(corpus, windows).tolist() == plain_difficulty(tokens.tolist(), windows)


def test_repetition_is_easy_and_noise_is_hard(tmp_path):
    rng = np.random.default_rng(1)
    easy = np.tile([1, 2, 3, 4], 256)
    hard = rng.integers(0, 60_000, 1024)
    corpus = load_shards([write_shard(tmp_path / "a.bin", np.concatenate([easy, hard]))])
    difficulty = difficulty_of(corpus, windows_of(corpus, 256))
    assert difficulty[:4].max() < difficulty[4:].min()


def test_windows_of_one_token_cost_nothing(tmp_path):
    corpus = load_shards([write_shard(tmp_path / "a.bin", [1, 2, 3])])
    assert difficulty_of(corpus, windows_of(corpus, 1)).tolist() == [0, 0, 0]
