"""Coefficients of the control variate against one augmented least-squares problem; types, batches, few draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bpb_harness.sampling import control_variate
from bpb_harness.sampling.bigram import count_bigrams
from bpb_harness.sampling.control_variate import (
    NATS_PER_UNIT,
    NeighbourCode,
    subtract_control,
)
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.one_span import control_of_masks, mean_code_length, token_units
from tests.shards import write_shard
from tests.spans import end_to_end
from tests.unit.sampling.test_control_variate import neighbour_code


def draws(num_windows: int, num_samples: int, seed: int = 0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    window = np.repeat(np.arange(num_windows), num_samples)
    rate = rng.random(len(window))
    control = rng.normal(size=len(window))
    value = 2.0 + 3.0 * rate - rate**3 + (0.8 - 0.3 * rate) * control + noise * rng.normal(size=len(window))
    return value, control, rate, np.ceil(60 * rate), window


def plain_coefficients(value, control, rate, count):
    """b_0 and b_1 beside a free curve of degree 4; the prior b ~ N((0.4, 0.6), 0.25^2) as two more rows."""
    weight = np.sqrt(count / (count + 100.0))
    rows = np.stack([*(rate**k for k in range(5)), control, control * rate], axis=1) * weight[:, None]
    target = value * weight
    rest = target - rows @ np.linalg.lstsq(rows, target, rcond=None)[0]
    deviation = np.sqrt(rest @ rest / (len(value) - 5 - 2))
    prior = np.zeros((2, 7))
    prior[0, 5] = prior[1, 6] = deviation / 0.25
    wanted = deviation / 0.25 * np.array([0.4, 0.6])
    return np.linalg.lstsq(np.vstack([rows, prior]), np.concatenate([target, wanted]), rcond=None)[0][5:]


@pytest.mark.parametrize(("num_windows", "num_samples"), [(48, 1), (49, 1), (200, 1), (24, 2), (60, 3)])
def test_each_parity_is_adjusted_by_what_the_other_says(num_windows, num_samples):
    value, control, rate, count, window = draws(num_windows, num_samples)
    adjusted = subtract_control(value, control, rate, count, window)
    assert adjusted.dtype == np.float64
    for parity in (0, 1):
        own, other = window % 2 == parity, window % 2 != parity
        b_0, b_1 = plain_coefficients(value[other], control[other], rate[other], count[other])
        expected = value[own] - (b_0 + b_1 * rate[own]) * control[own]
        np.testing.assert_allclose(adjusted[own], expected, rtol=1e-9)


def test_a_half_of_fewer_than_24_draws_says_nothing():
    value, control, rate, count, window = draws(47, 1)  # 24 of even windows, 23 of odd ones
    adjusted = subtract_control(value, control, rate, count, window)
    assert np.array_equal(adjusted[window % 2 == 0], value[window % 2 == 0])
    assert (adjusted[window % 2 == 1] != value[window % 2 == 1]).all()


@pytest.mark.parametrize("context", [0, 1, 3])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("rate", [0.05, 0.5, 1.0])
def test_the_mean_over_all_masks_of_targets_is_nothing(tmp_path, context, length, rate):
    """Size-biased masks, enumerated; the model of neighbours counts the context as visible, as it is."""
    tokens = np.random.default_rng([context, length]).integers(0, 4, 40)
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    spans = Spans(np.array([10]), np.array([10 + context]), np.array([10 + context + length]))
    code = NeighbourCode.of(count_bigrams(corpus, Spans.without_context(np.array([0]), np.array([40]))))
    masks = np.array([mask for mask in itertools.product((False, True), repeat=length) if any(mask)])
    count = masks.sum(axis=1)
    chance = count / (rate * length) * rate**count * (1.0 - rate) ** (length - count)
    rates = np.full(len(masks), rate)
    control = control_of_masks(token_units(code, corpus, spans, 0), masks, rates, has_context=context > 0)
    assert chance.sum() == pytest.approx(1.0)
    assert chance @ control == pytest.approx(0.0, abs=1e-12)
    rows = np.tile(tokens[10 : 10 + context + length], (len(masks), 1))
    whole = np.concatenate([np.zeros((len(masks), context), dtype=bool), masks], axis=1)
    batch = code.control_of_batch(rows, whole, rates, np.full(len(masks), context))
    np.testing.assert_allclose(batch, control, rtol=1e-12, atol=1e-15)


def test_narrow_types_are_computed_in_float64():
    narrow = [array.astype(np.float32) for array in draws(80, 1)[:4]]
    window = np.arange(80)
    wide = [array.astype(np.float64) for array in narrow]
    adjusted = subtract_control(*narrow, window)
    assert adjusted.dtype == np.float64
    np.testing.assert_allclose(adjusted, subtract_control(*wide, window), rtol=1e-6)
    units = np.random.default_rng(1).integers(0, 1 << 28, size=(4, 6))
    rate = np.array([0.3, 0.7], dtype=np.float32)
    assert mean_code_length(units, rate).tolist() == mean_code_length(units, rate.astype(np.float64)).tolist()
    for tokens in (units, units[:, :1]):
        assert mean_code_length(tokens, rate).dtype == np.float64
        masked = np.ones((2, tokens.shape[1]), dtype=bool)
        assert control_of_masks(tokens, masked, rate).dtype == np.float64


@pytest.mark.parametrize("tokens_at_once", [7, 40, 1 << 13])
def test_a_batch_is_each_of_its_windows(tmp_path, monkeypatch, tokens_at_once):
    monkeypatch.setattr(control_variate, "_TOKENS_AT_ONCE", tokens_at_once)
    tokens = np.random.default_rng(2).integers(0, 9, 200)
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    windows = end_to_end([20, 20, 20], begin=30)
    code = neighbour_code(corpus, windows)
    masked = np.random.default_rng(3).random((3, 20)) < 0.6
    rate, none = np.array([0.5, 0.6, 0.7]), np.zeros(3, dtype=np.int64)
    together = code.control_of_batch(np.stack([tokens[30:50], tokens[50:70], tokens[70:90]]), masked, rate, none)
    assert together.shape == (3,)
    for window in range(3):
        own = slice(window, window + 1)
        units = token_units(code, corpus, windows, window)
        assert together[window] == control_of_masks(units, masked[own], rate[own])[0]
        assert units.shape == (4, 20)


def test_counts_are_those_of_the_scored_text_alone(tmp_path):
    tokens = np.array([7, 7, 7, 1, 2, 1, 2, 1, 7, 7])
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens)])
    windows = end_to_end([5], begin=3)
    nats = token_units(neighbour_code(corpus, windows), corpus, windows, 0) * NATS_PER_UNIT
    total = 5 + 3  # ids 0, 1 and 2
    assert nats[0].tolist() == pytest.approx([-np.log(n / total) for n in (3, 2, 3, 2, 3)], abs=1e-7)
    # Before a 2 stands a 1: the pair occurs twice, itself left out, among three 1s, itself left out.
    two_after_one, one_after_two = -np.log((1 + 2 * 2 / total) / 4), -np.log((1 + 2 * 3 / total) / 3)
    assert nats[1, 1:].tolist() == pytest.approx([two_after_one, one_after_two] * 2, abs=1e-7)
    one_before_two, two_before_one = -np.log((1 + 2 * 3 / total) / 3), -np.log((1 + 2 * 2 / total) / 4)
    assert nats[2, :-1].tolist() == pytest.approx([one_before_two, two_before_one] * 2, abs=1e-7)
