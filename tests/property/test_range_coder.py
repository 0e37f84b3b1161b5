"""Whatever the distributions, tokens come back from their bits, which are as many as the frequencies say."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import InputError
from bpb_harness.proof.frequencies import frequencies, total_of
from bpb_harness.proof.range_coder import Decoder, Encoder
from tests.oracles import interval_coder

_EXPONENTS = st.sampled_from([0.01, 1.0, 3.0, 30.0, 300.0])


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def rows_of(seed: int, num_rows: int, vocab_size: int, spread: float, with_mask: bool):
    """Predictions from nearly uniform to one token of all mass, and tokens likely and unlikely."""
    random = np.random.default_rng(seed)
    logits = spread * random.standard_normal((num_rows, vocab_size))
    if with_mask:
        logits[:, random.integers(vocab_size)] = -np.inf
    log_probs = log_softmax(logits)
    counts = frequencies(log_probs)
    likely = (log_probs + random.gumbel(size=log_probs.shape)).argmax(axis=1)
    any_token = np.where(counts > 0, random.random(counts.shape), -1.0).argmax(axis=1)
    return log_probs, counts, np.where(random.random(num_rows) < 0.7, likely, any_token)


def stream_of(counts, tokens) -> bytes:
    encoder = Encoder()
    encoder.encode_rows(counts, tokens)
    return encoder.finish()


def symbols_of(counts, tokens):
    return [
        (sum(row[:token]), row[token], sum(row)) for row, token in zip(counts.tolist(), tokens.tolist(), strict=True)
    ]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(2, 300), _EXPONENTS, st.booleans())
def test_round_trip_against_exact_fractions(seed, num_rows, vocab_size, spread, with_mask):
    _, counts, tokens = rows_of(seed, num_rows, vocab_size, spread, with_mask)
    stream, symbols = stream_of(counts, tokens), symbols_of(counts, tokens)
    assert stream == interval_coder.encode(symbols)
    assert interval_coder.decode(stream, counts.tolist()) == tokens.tolist()
    decoder = Decoder(stream)
    assert decoder.decode_rows(counts).tolist() == tokens.tolist()
    decoder.finish()
    # At most the last byte, and what cutting loses.
    assert -1e-6 <= 8 * len(stream) - interval_coder.ideal_bits(symbols) <= 8.0 + 1e-6 * len(symbols)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([9_999, 10_000, 10_001, 50_257, 150_000]), _EXPONENTS, st.booleans())
def test_large_vocabularies(seed, vocab_size, spread, with_mask):
    _, counts, tokens = rows_of(seed, 4, vocab_size, spread, with_mask)
    stream = stream_of(counts, tokens)
    decoder = Decoder(stream)
    assert decoder.decode_rows(counts).tolist() == tokens.tolist()
    decoder.finish()
    ideal = interval_coder.ideal_bits(symbols_of(counts, tokens))
    assert -1e-6 <= 8 * len(stream) - ideal <= 8.0 + 1e-5


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**32), st.randoms(use_true_random=False)), max_size=40))
def test_any_totals(parts):
    """Totals that are no powers of two, from one symbol to the next."""
    symbols = []
    for total, random in parts:
        frequency = random.choice([1, total, random.randint(1, total)])
        symbols.append(
            (
                random.choice([0, (total - frequency) // 2, total - frequency, random.randint(0, total - frequency)]),
                frequency,
                total,
            )
        )
    encoder = Encoder()
    for symbol in symbols:
        encoder.encode(*symbol)
    stream = encoder.finish()
    assert stream == interval_coder.encode(symbols)
    decoder = Decoder(stream)
    for low, frequency, total in symbols:
        assert low <= decoder.target(total) < low + frequency
        decoder.advance(low, frequency, total)
    decoder.finish()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=30), st.integers(2, 40), st.integers(1, 30))
def test_any_bytes_are_an_encoders_or_refused(seed, stream, vocab_size, num_rows):
    _, counts, _ = rows_of(seed, num_rows, vocab_size, 1.0, True)
    with contextlib.suppress(InputError):
        decoder = Decoder(stream)
        tokens = decoder.decode_rows(counts)
        decoder.finish()
        assert stream_of(counts, tokens) == stream


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(2, 12_000), _EXPONENTS, st.booleans())
def test_frequencies(seed, num_rows, vocab_size, spread, with_mask):
    log_probs, counts, _ = rows_of(seed, num_rows, vocab_size, spread, with_mask)
    total = total_of(vocab_size)
    assert (counts.sum(axis=1) == total).all()
    assert ((counts > 0) == (log_probs > -np.inf)).all()
    has_mass = counts > 0
    excess = -np.log2(counts[has_mass] / total) + log_probs[has_mass] / math.log(2.0)
    assert excess.max() <= -math.log2(1.0 - vocab_size / total) + 1e-9
    p = np.exp(log_probs)
    others = np.ones_like(p, dtype=bool)
    others[np.arange(num_rows), log_probs.argmax(axis=1)] = False
    assert np.abs(counts - p * (total - vocab_size) - 0.5)[others & has_mass].max(initial=0) <= 0.501
    # A row's integers do not depend on the rows beside it, or on how they lie in memory.
    assert all((frequencies(row) == count).all() for row, count in zip(log_probs, counts, strict=True))
    assert (frequencies(np.asfortranarray(log_probs)) == counts).all()


@pytest.mark.parametrize("vocab_size", [2, 512, 150_000])
def test_lengths_beside_constriction(vocab_size):
    constriction = pytest.importorskip("constriction")
    num_rows = 200 if vocab_size < 1000 else 8
    log_probs, counts, tokens = rows_of(7, num_rows, vocab_size, 2.0, False)
    other = constriction.stream.queue.RangeEncoder()
    family = constriction.stream.model.Categorical(perfect=False)
    probabilities = np.exp(log_probs).astype(np.float32)
    other.encode(tokens.astype(np.int32), family, probabilities)
    # It quantises to 24 bits whatever V is, and ends in words of 32 bits.
    allowed = 64 + num_rows * -math.log2(1 - vocab_size / 2**24)
    assert abs(8 * len(stream_of(counts, tokens)) - other.num_bits()) <= allowed
