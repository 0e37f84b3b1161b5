"""The guess of difficulty over several runs of windows, away from the start of the corpus, beyond the table."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.shards import write_shard
from tests.spans import end_to_end
from tests.unit.sampling.test_bigram import difficulty_of, plain_difficulty


@pytest.fixture
def tokens():
    drawn = np.random.default_rng(3).integers(0, 40, 300)
    drawn[250] = 77  # the last token scored, which comes before no other
    return drawn


def windows_of(first: int, *lengths: int) -> Spans:
    return end_to_end(lengths, begin=first)


@pytest.mark.parametrize("chunk", [7, 10, 64, 100, 10**6])
def test_runs_of_windows_change_nothing(tmp_path, monkeypatch, tokens, chunk):
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    windows = windows_of(11, 40, 1, 60, 39, 50, 2, 48)
    assert windows.starts[-1] + windows.lengths[-1] == 251
    for tokens_at_once in ("_CHUNK_TOKENS", "TOKENS_IN_CACHE"):
        monkeypatch.setattr(f"bpb_harness.sampling.bigram.{tokens_at_once}", chunk)
    counts = count_bigrams(corpus, windows)
    assert counts.tokens.tolist() == np.bincount(tokens[11:251]).tolist()
    assert (counts.pairs.sum(), counts.last) == (239, tokens[250])
    difficulty = difficulty_of(corpus, windows)
    assert difficulty.dtype == np.int64
    assert difficulty.tolist() == plain_difficulty(tokens.tolist(), windows)


def test_spans_are_in_the_order_of_the_text(tmp_path, tokens):
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    spans = end_to_end([10] * 3).take(np.array([0, 2, 1]))
    with pytest.raises(AssertionError, match=r"^spans are in the order of their targets"):
        bigram_difficulty(corpus, spans, count_bigrams(corpus, spans))


def test_contexts_are_counted_too(tmp_path, tokens):
    """From the first token that is seen to the last that is paid for, what lies between answers included."""
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    spans = Spans(np.array([7, 30]), np.array([12, 41]), np.array([20, 50]))
    counts = count_bigrams(corpus, spans)
    assert counts.tokens.tolist() == np.bincount(tokens[7:50]).tolist()
    assert counts.pairs.sum() == 42
