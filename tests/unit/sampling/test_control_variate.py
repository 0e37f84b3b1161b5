"""The control variate has expectation 0 over all masks, and its coefficient never sees the draw it is applied to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from bpb_harness.sampling.bigram import count_bigrams
from bpb_harness.sampling.control_variate import NATS_PER_UNIT, NeighbourCode, subtract_control
from bpb_harness.text.corpus import Corpus, load_shards
from bpb_harness.text.spans import Spans
from tests.one_span import control_of_masks, token_units
from tests.spans import windows_of


def close(nats: float) -> object:
    """What two logarithms from a table make of a difference of logarithms."""
    return pytest.approx(nats, abs=1e-7)


def _size_biased_masks(length: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Every mask with at least one token and its probability, by summing over the forced position."""
    masks = np.array([mask for mask in itertools.product([False, True], repeat=length) if any(mask)])
    probability = np.array(
        [
            sum(
                rate ** (mask.sum() - 1) * (1.0 - rate) ** (length - mask.sum()) / length
                for i in range(length)
                if mask[i]
            )
            for mask in masks
        ]
    )
    return masks, probability


@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize("rate", [0.01, 0.4, 0.93, 1.0])
def test_expectation_over_all_size_biased_masks_is_zero(length: int, rate: float) -> None:
    token_units = np.rint(np.random.default_rng(length).exponential(size=(4, length)) / NATS_PER_UNIT).astype(np.int64)
    masks, probability = _size_biased_masks(length, rate)
    assert probability.sum() == pytest.approx(1.0, abs=1e-12)
    control = control_of_masks(token_units, masks, np.full(len(masks), rate))
    assert abs(probability @ control) < 1e-12
    if length > 1 and rate < 1.0:
        assert probability @ control**2 > 1e-3


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    tokens = np.tile(np.array([5, 3, 5, 7, 5, 3, 9], dtype="<u2"), 20)
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(tokens)
    path = tmp_path / "shard.bin"
    path.write_bytes(header.tobytes() + tokens.tobytes())
    return path


def neighbour_code(corpus: Corpus, windows: Spans) -> NeighbourCode:
    return NeighbourCode.of(count_bigrams(corpus, windows))


def test_token_nats_are_leave_one_out_code_lengths(shard: Path) -> None:
    corpus = load_shards([shard])
    windows = windows_of(corpus, 70)
    units = token_units(neighbour_code(corpus, windows), corpus, windows, 0)
    nats = units * NATS_PER_UNIT
    total, distinct = 140, 10
    unigram = {5: 60, 3: 40, 7: 20, 9: 20}
    for position, token in enumerate([5, 3, 5, 7]):
        assert nats[0, position] == close(-np.log(unigram[token] / (total + distinct)))
    # 5 then 3 occurs 40 times, this one leaves itself out: (39 + 2 p(3)) / (59 + 2).
    assert nats[1, 1] == close(-np.log((39 + 2 * 40 / 150) / 61))
    # and backwards, 5 before a 3: the context is the 3.
    assert nats[2, 0] == close(-np.log((39 + 2 * 60 / 150) / 41))
    assert nats[1, 0] == nats[0, 0]
    assert nats[2, -1] == nats[0, -1]
    assert np.array_equal(units[3], np.maximum(units[1] + units[2] - units[0], round(0.02 / NATS_PER_UNIT)))


def test_counts_do_not_depend_on_where_chunks_end(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = load_shards([shard])
    windows = windows_of(corpus, 50)
    whole = token_units(neighbour_code(corpus, windows), corpus, windows, 2)
    monkeypatch.setattr("bpb_harness.sampling.bigram._CHUNK_TOKENS", 13)
    assert np.array_equal(token_units(neighbour_code(corpus, windows), corpus, windows, 2), whole)


def _draws(num_windows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    window = np.arange(num_windows)
    rate = rng.random(num_windows)
    control = rng.normal(size=num_windows)
    value = 1.0 + 4.0 * rate + (0.5 + 0.25 * rate) * control + noise * rng.normal(size=num_windows)
    return value, control, rate, np.ceil(200 * rate), window


def test_fitted_coefficients_take_the_shared_noise_away() -> None:
    value, control, rate, count, window = _draws(2000, noise=0.01)
    rest = subtract_control(value, control, rate, count, window) - 1.0 - 4.0 * rate
    assert rest.std() < 0.02
    assert (value - 1.0 - 4.0 * rate).std() > 0.5


def test_an_unrelated_control_is_weighed_down() -> None:
    value, control, rate, count, window = _draws(2000, noise=0.01)
    unrelated = np.random.default_rng(9).normal(size=len(control))
    added = subtract_control(value, unrelated, rate, count, window) - value
    assert added.std() < 0.1


def test_a_window_is_adjusted_by_coefficients_of_the_other_parity_alone() -> None:
    value, control, rate, count, window = _draws(400, noise=0.1)
    before = subtract_control(value, control, rate, count, window)
    value[7] += 100.0
    after = subtract_control(value, control, rate, count, window)
    changed = np.flatnonzero(before != after)
    assert 7 in changed
    assert set(changed) - {7} == set(window[window % 2 == 0])


def test_few_windows_are_left_alone() -> None:
    value, control, rate, count, window = _draws(20, noise=0.1)
    assert np.array_equal(subtract_control(value, control, rate, count, window), value)


def test_a_network_without_noise_gets_none_added() -> None:
    """A context-free network says the same of every mask, and so must every method."""
    value, control, rate, count, window = _draws(200, noise=0.1)
    same = np.full_like(value, 3.25)
    assert np.allclose(subtract_control(same, control, rate, count, window), same, rtol=1e-12, atol=0)
