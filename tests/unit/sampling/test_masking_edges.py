"""Every random stream word for word, the design's formula, and masks at the edges of their rates."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bpb_harness.sampling import design
from bpb_harness.sampling.design import StratifiedDesign, random_halving_ranks, size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from tests.unit.sampling.test_masking import philox_4x64

SEED, PASS = 2**64 - 3, 5
SHIFT, JITTER, MASK, ORDER, HALVING = 1, 2, 3, 4, 5  # part of what a seed means
STREAMS = RandomStreams(SEED, PASS)


def raw(purpose: int, window: int, sample: int, size: int) -> list[int]:
    """Words of one stream, by the independent generator."""
    words: list[int] = []
    while len(words) < size:
        words += philox_4x64((SEED, PASS << 8 | purpose), (len(words) // 4 + 1, window, sample, 0))
    return words[:size]


def unit(word: int) -> Fraction:
    return Fraction(word >> 11, 1 << 53)


def test_the_shift_is_the_first_word_of_its_stream():
    for count in (1, 7, 1000):
        assert STREAMS.design_shift(count) == int(unit(raw(SHIFT, 0, 0, 1)[0]) * count)


@pytest.mark.parametrize("depth", [0, 1, 6])
def test_coins_are_the_highest_bits(depth):
    coins = STREAMS.halving_coins(depth, 9)
    assert coins.dtype == np.int64
    assert coins.tolist() == [word >> 63 for word in raw(HALVING, 0, depth, 9)]


def test_jitter_is_never_0():
    windows = [0, 3, 10_000, 2**40]
    values = STREAMS.jitter(np.array(windows))
    assert values.dtype == np.float64
    assert values.tolist() == [float(unit(raw(JITTER, window, 0, 1)[0])) + 2.0**-54 for window in windows]


def test_noise_and_target_share_a_stream():
    target, noise = STREAMS.mask_noise(4, 2, 6)
    words = [unit(word) for word in raw(MASK, 4, 2, 7)]
    assert isinstance(target, int)
    assert target == int(words[0] * 6)
    assert noise.dtype == np.float64
    assert noise.tolist() == [float(word) for word in words[1:]]


def test_an_order_sorts_its_words():
    words = raw(ORDER, 8, 3, 12)
    assert STREAMS.order(8, 3, 12).tolist() == sorted(range(12), key=words.__getitem__)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_seeds_at_the_ends_of_their_range(seed):
    assert 0 < RandomStreams(seed, 2**32 - 1).jitter(np.array([0]))[0] <= 1


@pytest.mark.parametrize("pass_index", [-1, 2**32])
def test_a_pass_index_has_32_bits(pass_index):
    with pytest.raises(AssertionError):
        RandomStreams(0, pass_index)


@pytest.mark.parametrize(("count", "samples", "first"), [(1, 1, 0), (7, 3, 0), (20, 2, 13)])
def test_positions_are_the_designs_formula(count, samples, first):
    """v[w, j] = (j + s) / K with s = (pi(w) + e_w) / N, every second draw mirrored; pi as documented."""
    difficulty = np.random.default_rng(count).integers(0, 4, count)  # with ties
    design = StratifiedDesign(STREAMS, difficulty, samples, first)
    assert (len(design), design.num_samples) == (count, samples)
    ranks = random_halving_ranks(count, lambda depth: STREAMS.halving_coins(depth, count))
    by_difficulty = sorted(range(count), key=lambda window: (difficulty[window], window))
    for rank, window in zip(ranks.tolist(), by_difficulty, strict=True):
        stratum = (rank + STREAMS.design_shift(count)) % count
        inside = (stratum + STREAMS.jitter(np.array([first + window]))[0]) / count
        expected = [(sample + (1 - inside if sample % 2 else inside)) / samples for sample in range(samples)]
        assert design.positions.dtype == np.float64
        assert design.positions[window].tolist() == pytest.approx(expected, rel=1e-15)


def test_the_first_window_is_0_by_default():
    plain, told = (StratifiedDesign(STREAMS, np.arange(5), 1, *first) for first in ((), (0,)))
    assert plain.positions[2].tolist() == told.positions[2].tolist()


def test_a_design_of_no_windows():
    assert len(StratifiedDesign(STREAMS, np.zeros(0), 2)) == 0


def test_a_position_is_masked_below_the_rate_and_not_at_it():
    noise = torch.tensor([[0.0, 0.5, 0.75, 0.25]], dtype=torch.float64)
    for rate, expected in ((0.5, [True, False, False, True]), (0.0, [False, False, False, True])):
        level = LogLinear().level(torch.tensor([rate], dtype=torch.float64))
        masked = size_biased_masks(noise, torch.tensor([3]), level)
        assert masked.dtype == torch.bool
        assert masked.tolist() == [expected]


def test_many_draws_are_each_draw_by_itself():
    windows, samples = np.array([4, 0, 4]), np.array([1, 0, 0])
    noise, target = stack_mask_noise(STREAMS, windows, samples, np.full(3, 6), 6)
    assert (noise.dtype, target.dtype) == (torch.float64, torch.int64)
    assert (noise.shape, target.shape) == ((3, 6), (3,))
    for row, (window, sample) in enumerate(zip(windows.tolist(), samples.tolist(), strict=True)):
        forced, alone = STREAMS.mask_noise(window, sample, 6)
        assert int(target[row]) == forced
        assert noise[row].tolist() == alone.tolist()


def test_a_context_is_never_masked_and_its_targets_are_as_by_themselves():
    windows, samples, lengths = np.array([4, 0, 7]), np.array([1, 0, 3]), np.array([6, 2, 1])
    noise, target = stack_mask_noise(STREAMS, windows, samples, lengths, 6)
    for row, length in enumerate(lengths.tolist()):
        forced, alone = STREAMS.mask_noise(int(windows[row]), int(samples[row]), length)
        assert int(target[row]) == 6 - length + forced
        assert noise[row, 6 - length :].tolist() == alone.tolist()
    everything = LogLinear().level(torch.ones(3, dtype=torch.float64))
    assert size_biased_masks(noise, target, everything).sum(dim=-1).tolist() == lengths.tolist()


@pytest.mark.parametrize("short", [0, 1 << 30])
@pytest.mark.parametrize("input_length", [1, 3, 4, 8, 21])
def test_short_draws_made_together_are_those_made_one_by_one(monkeypatch, short, input_length):
    monkeypatch.setattr(design, "_SHORT", short)
    windows, samples = np.arange(7) * 2**33, np.arange(7)[::-1] % 3
    lengths = np.maximum(input_length - np.arange(7), 1)
    noise, target = stack_mask_noise(STREAMS, windows, samples, lengths, input_length)
    for row, length in enumerate(lengths.tolist()):
        words = [unit(word) for word in raw(MASK, int(windows[row]), int(samples[row]), length + 1)]
        context = input_length - length
        assert int(target[row]) == context + int(words[0] * length)
        assert noise[row].tolist() == [2.0] * context + [float(word) for word in words[1:]]


def test_every_window_has_its_sample():
    with pytest.raises(ValueError, match="shorter"):
        stack_mask_noise(STREAMS, np.array([1, 2]), np.array([0]), np.array([3, 3]), 3)
