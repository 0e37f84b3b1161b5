"""Masks and the stratified design."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.errors import UsageError
from bpb_harness.sampling.design import StratifiedDesign, size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear


def philox_4x64(key, counter):
    """Philox 4x64-10 in plain integers (Salmon et al. 2011), sharing nothing with the library that the product uses."""
    word = (1 << 64) - 1
    k0, k1 = key
    c = list(counter)
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k0, p1 & word, (p0 >> 64) ^ c[3] ^ k1, p0 & word]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & word, (k1 + 0xBB67AE8584CAA73B) & word
    return c


def test_mask_noise_is_philox_of_seed_window_and_sample():
    seed, window, sample, mask_purpose = 12345678901234567890, 41, 7, 3
    # numpy's generator steps its counter before the first block
    blocks = [philox_4x64((seed, mask_purpose), (block, window, sample, 0)) for block in (1, 2, 3)]
    expected = [Fraction(raw >> 11, 1 << 53) for block in blocks for raw in block]
    target, noise = RandomStreams(seed).mask_noise(window, sample, 9)
    assert target == int(expected[0] * 9)
    assert [Fraction(float(value)) for value in noise] == expected[1:10]


def test_streams_of_different_address_differ():
    base = RandomStreams(0)
    noise = base.mask_noise(3, 1, 16)[1]
    for other in (RandomStreams(1).mask_noise(3, 1, 16), base.mask_noise(4, 1, 16), base.mask_noise(3, 2, 16)):
        assert not np.array_equal(noise, other[1])
    assert not np.array_equal(noise, RandomStreams(0, pass_index=1).mask_noise(3, 1, 16)[1])


def test_a_shorter_window_has_the_same_noise_at_its_start():
    streams = RandomStreams(5)
    np.testing.assert_array_equal(streams.mask_noise(0, 0, 7)[1], streams.mask_noise(0, 0, 30)[1][:7])


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(UsageError, match="seed"):
        RandomStreams(seed)


def test_masks_hold_their_target_and_follow_the_noise():
    noise = torch.tensor([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9]], dtype=torch.float64)
    level = LogLinear().level(torch.tensor([0.5, 0.05], dtype=torch.float64))
    masked = size_biased_masks(noise, torch.tensor([2, 1]), level)
    assert masked.tolist() == [[True, False, True], [False, True, False]]


def test_everything_is_masked_at_rate_one():
    noise, target = stack_mask_noise(RandomStreams(0), np.arange(20), np.zeros(20, dtype=np.int64), np.full(20, 64), 64)
    masked = size_biased_masks(noise, target, LogLinear().level(torch.ones(20, dtype=torch.float64)))
    assert bool(masked.all())


@given(st.integers(0, 2**64 - 1), st.floats(0, 1), st.floats(0, 1))
def test_masks_at_a_higher_rate_hold_those_at_a_lower(seed, rate, other):
    low, high = sorted((rate, other))
    noise, target = stack_mask_noise(RandomStreams(seed), np.array([0]), np.array([0]), np.array([40]), 40)
    masks = [
        size_biased_masks(noise, target, LogLinear().level(torch.tensor([u], dtype=torch.float64))) for u in (low, high)
    ]
    assert bool((masks[1] | ~masks[0]).all())


def test_mask_frequencies():
    """Binomial counts within 4.5 standard errors at a fixed seed; false alarm below 1e-4 for the two together."""
    draws, length, rate = 4000, 12, 0.3
    sample, lengths = np.zeros(draws, dtype=np.int64), np.full(draws, length)
    noise, target = stack_mask_noise(RandomStreams(7), np.arange(draws), sample, lengths, length)
    masked = size_biased_masks(noise, target, LogLinear().level(torch.full((draws,), rate, dtype=torch.float64)))
    others = masked.sum().item() - draws
    trials = draws * (length - 1)
    assert abs(others - trials * rate) < 4.5 * (trials * rate * (1 - rate)) ** 0.5
    counts = torch.bincount(target, minlength=length).double()
    assert float((counts - draws / length).abs().max()) < 4.5 * (draws / length) ** 0.5


class TestStratifiedDesign:
    @given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
    def test_every_stratum_of_the_whole_is_hit_once(self, seed, windows, samples):
        difficulty = np.random.default_rng(seed).integers(0, 5, windows)
        design = StratifiedDesign(RandomStreams(seed), difficulty, samples)
        positions = design.positions.ravel()
        strata = np.ceil(positions * windows * samples).astype(int) - 1
        assert sorted(strata) == list(range(windows * samples))

    @given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
    def test_each_windows_draws_are_mirrored_in_turn(self, seed, windows, samples):
        design = StratifiedDesign(RandomStreams(seed), np.arange(windows), samples)
        for window in range(windows):
            inside = design.positions[window] * samples - np.arange(samples)
            np.testing.assert_allclose(inside[::2], inside[0], atol=1e-12)
            np.testing.assert_allclose(inside[1::2], 1 - inside[0], atol=1e-12)

    @pytest.mark.parametrize(("windows", "number"), [(0, 0), (1, 0), (255, 0), (256, 128), (20_000, 312)])
    def test_some_windows_are_drawn_again_where_each_has_one_draw(self, windows, number):
        design = StratifiedDesign(RandomStreams(3), np.arange(windows), 1)
        assert len(design.replicated) == len(design.replicate_positions) == number
        apart = np.diff(design.replicated, append=windows)
        assert not number or (apart.min() > 0 and apart.max() <= -(-windows // number))
        assert (design.replicate_positions > 0).all()
        assert (design.replicate_positions <= 1).all()
        for none in ({"num_samples": 2}, {"num_samples": 1, "replicates": False}):
            assert not len(StratifiedDesign(RandomStreams(3), np.arange(windows), **none).replicated)
        later = StratifiedDesign(RandomStreams(3), np.arange(windows), 1, first_window=1)
        assert np.array_equal(later.replicated, design.replicated)
        assert not number or later.replicate_positions[0] != design.replicate_positions[0]

    def test_replicates_are_uniform_and_independent_of_the_design(self):
        """Mean within 4.5 errors of 1/2, correlation with the first draws within 4.5 / sqrt(n): false alarm 1.4e-5."""
        first, second = [], []
        for seed in range(40):
            design = StratifiedDesign(RandomStreams(seed), np.arange(256), 1)
            first += design.positions[design.replicated, 0].tolist()
            second += design.replicate_positions.tolist()
        assert abs(np.mean(second) - 0.5) < 4.5 * np.sqrt(1 / 12 / len(second))
        assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / np.sqrt(len(second))

    def test_each_window_meets_every_stratum_over_the_shifts(self):
        windows = 11
        met = np.zeros((windows, windows), dtype=bool)
        for seed in range(400):
            design = StratifiedDesign(RandomStreams(seed), np.arange(windows), 1)
            for window in range(windows):
                met[window, int(np.ceil(design.positions[window][0] * windows)) - 1] = True
        assert met.all()

    def test_position_is_uniform_for_each_window(self):
        """Mean over 800 seeds within 4.5 standard errors (0.046) of 1/2 for each of 7 windows: false alarm 5e-5."""
        positions = np.array(
            [StratifiedDesign(RandomStreams(seed), np.arange(7), 1).positions[:, 0] for seed in range(800)]
        )
        assert np.abs(positions.mean(axis=0) - 0.5).max() < 4.5 * (1 / 12 / 800) ** 0.5

    def test_windows_of_like_difficulty_are_spread_over_all_positions(self):
        """Any 16 neighbours in difficulty leave no gap wider than half of the (circular) range."""
        difficulty = np.random.default_rng(0).permutation(64)
        design = StratifiedDesign(RandomStreams(3), difficulty, 1)
        ordered = np.argsort(difficulty)
        for start in range(0, 64 - 15):
            near = np.sort([design.positions[window][0] for window in ordered[start : start + 16]])
            assert np.diff(near, append=near[0] + 1).max() <= 1 / 2

    def test_no_samples_is_refused(self):
        with pytest.raises(UsageError, match="samples"):
            StratifiedDesign(RandomStreams(0), np.arange(3), 0)


def test_random_orders_are_permutations():
    order = RandomStreams(1).order(4, 0, 50)
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, RandomStreams(1).order(5, 0, 50))
