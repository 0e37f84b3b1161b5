"""Standard errors from draws whose law is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from bpb_harness.errors import NumericsError, UsageError
from bpb_harness.statistics.differences import paired_gap
from bpb_harness.statistics.standard_errors import (
    Draws,
    between_pass_stderr,
    confidence_interval,
    corpus_stderr,
    grid_stderr_nats,
    mc_stderr_nats,
    unexplained_variance,
)
from tests.tiers import some_of


def make_draws(
    num_windows: int,
    num_samples: int,
    *,
    seed: int = 0,
    noise: float = 0.0,
    main: float = 0.0,
    slope: float = 0.0,
    curve: float = 0.0,
    tokens: int = 10,
    serial: float = 0.0,
) -> Draws:
    """Windows of ``tokens`` tokens; nats per token = curve(v) + window's constant + its slope (2 v - 1) + noise."""
    rng = np.random.default_rng(seed)
    window = np.repeat(np.arange(num_windows), num_samples)
    sample = np.tile(np.arange(num_samples), num_windows)
    stratum = rng.permutation(num_windows)[window]
    inside = (stratum + rng.random(num_windows)[window]) / num_windows
    v = (sample + np.where(sample % 2 == 1, 1.0 - inside, inside)) / num_samples
    own = rng.normal(size=num_windows)
    shared = np.repeat(rng.normal(size=(num_windows + 1) // 2), 2)[:num_windows]  # each two neighbours alike
    constant = main * (math.sqrt(1.0 - serial) * own + math.sqrt(serial) * shared)
    value = 3.0 + curve * (v + v**2) + constant[window] + slope * rng.normal(size=num_windows)[window] * (2.0 * v - 1.0)
    value = value + noise * rng.normal(size=len(v))
    return Draws(
        window=window, sample=sample, v=v, value_nats=tokens * value, difficulty=rng.random(num_windows),
        num_tokens=np.full(num_windows, tokens), num_bytes=np.full(num_windows, 20),
    )  # fmt: skip


@pytest.mark.parametrize("num_samples", [1, 2, 3, 8])
def test_pure_mask_noise_has_the_textbook_error(num_samples: int) -> None:
    """Within 4 standard errors of a variance estimate: false alarm 6e-5."""
    draws = make_draws(2000, num_samples, noise=0.5, curve=4.0)
    expected = 10.0 * 0.5 * math.sqrt(2000 / num_samples)
    tolerance = 4.0 * math.sqrt(0.5 / (2000 * max(num_samples - 1, 1)))
    assert mc_stderr_nats(draws) == pytest.approx(expected, rel=tolerance + 0.02)


@pytest.mark.parametrize("num_samples", [1, 2, 8])
def test_what_the_rate_explains_is_no_error(num_samples: int) -> None:
    draws = make_draws(400, num_samples, curve=4.0)
    assert unexplained_variance(draws) < (1e-6 * math.fsum(draws.window_nats)) ** 2
    assert mc_stderr_nats(draws) < 1e-4 * math.fsum(draws.window_nats)  # of the places inside their strata


def test_what_difficulty_explains_is_no_error() -> None:
    draws = make_draws(400, 1)
    hardness = draws.difficulty[draws.window] / 10.0
    value = draws.value_nats * (1.0 + hardness + hardness * draws.v**2)
    assert unexplained_variance(replace(draws, value_nats=value)) < (1e-6 * value.sum()) ** 2


@pytest.mark.parametrize(("num_samples", "rel"), [(2, 0.15), (3, 0.15), (8, 0.1)])
def test_what_is_constant_in_a_window_is_no_error(num_samples: int, rel: float) -> None:
    quiet = mc_stderr_nats(make_draws(1000, num_samples, noise=0.1))
    assert mc_stderr_nats(make_draws(1000, num_samples, noise=0.1, main=0.3)) == pytest.approx(quiet, rel=rel)


def test_one_draw_a_window_keeps_the_windows_own_part_but_not_what_neighbours_share() -> None:
    noise = mc_stderr_nats(make_draws(4000, 1, noise=0.3))
    apart = mc_stderr_nats(make_draws(4000, 1, noise=0.3, main=0.3, serial=0.0))
    alike = mc_stderr_nats(make_draws(4000, 1, noise=0.3, main=0.3, serial=1.0))
    assert apart == pytest.approx(noise * math.sqrt(2.0), rel=0.05)
    # Half of the adjacent pairs share their part, so half of its variance goes.
    assert alike == pytest.approx(noise * math.sqrt(1.5), rel=0.05)


def test_leans_cancel_between_mirrored_draws() -> None:
    """K = 2: x_1 = -x_2, so a slope is no error at all, though it makes the draws of a window differ."""
    draws = make_draws(3000, 2, slope=0.5, noise=0.2)
    expected = 10.0 * 0.2 * math.sqrt(3000 / 2)
    assert mc_stderr_nats(draws) == pytest.approx(expected, rel=0.1)
    differences = np.diff(draws.value_nats.reshape(3000, 2), axis=1)
    assert math.sqrt(float((differences**2).sum()) / 4.0) > 1.5 * expected


@pytest.mark.parametrize(("num_samples", "mean_square"), [(3, 1.0 / 243), (8, 0.0)])
def test_leans_over_several_draws(num_samples: int, mean_square: float) -> None:
    """Mean square of the draws' mean position: 0 for an even K, (2 / K)^2 / 12 / K^2 where one draw has no mirror."""
    draws = make_draws(4000, num_samples, slope=0.5, noise=0.2)
    expected = 10.0 * math.sqrt(4000 * (0.25 * mean_square + 0.04 / num_samples))
    assert mc_stderr_nats(draws) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("num_samples", some_of([2, 3], everyday=1))
def test_few_windows_that_are_noisy_at_low_rates_do_not_hide_it(num_samples: int) -> None:
    """The noisiest draws pull the fit the most: all scaled alike, errors come out below the known spread.

    Root mean square of 400 errors over that spread, 1.11 and 1.07 with an error of 1 %; scaled alike 0.95 and 0.96.
    """
    squares = []
    for seed in range(400):
        draws = make_draws(60, num_samples, seed=seed, curve=4.0)
        scale = 0.5 / np.sqrt(0.02 + draws.v)
        noise = 10.0 * scale * np.random.default_rng(1000 + seed).normal(size=len(scale))
        squares.append(unexplained_variance(replace(draws, value_nats=draws.value_nats + noise)))
    v = (np.arange(20_000) + 0.5) / 20_000
    spread = 10.0 * math.sqrt(60 / num_samples * float((0.25 / (0.02 + v)).mean()))
    ratio = math.sqrt(np.mean(squares)) / spread
    assert 1.0 < ratio < 1.25


def test_order_of_rows_does_not_matter() -> None:
    draws = make_draws(50, 4, noise=0.3, slope=0.3)
    shuffled = np.random.default_rng(1).permutation(len(draws.window))
    rows = {name: getattr(draws, name)[shuffled] for name in ("window", "sample", "v", "value_nats")}
    assert mc_stderr_nats(replace(draws, **rows)) == pytest.approx(mc_stderr_nats(draws), rel=1e-9)


def test_regression_takes_the_level_not_the_position_where_they_differ() -> None:
    """A staircase of 8 steps is explained by its levels, and by no smooth curve of v."""
    draws = make_draws(400, 1)
    level = np.ceil(draws.v * 8) / 8
    stairs = replace(draws, value_nats=100.0 * level)
    assert unexplained_variance(replace(stairs, level=level)) < 1e-12
    assert unexplained_variance(stairs) > 1.0


@pytest.mark.parametrize("num_windows", [1, 2, 3, 5])
def test_few_windows_still_give_a_number(num_windows: int) -> None:
    for num_samples in (1, 2, 4) if num_windows > 1 else (2, 4):
        assert 1e-6 < mc_stderr_nats(make_draws(num_windows, num_samples, noise=0.1, curve=1.0)) < 1e3


def test_windows_of_other_lengths_weigh_by_their_tokens() -> None:
    draws = make_draws(1000, 2, noise=0.5, curve=2.0)
    tokens = np.where(np.arange(1000) < 500, 10, 30)
    scaled = replace(draws, value_nats=draws.value_nats * (tokens / 10)[draws.window], num_tokens=tokens)
    expected = 0.5 * math.sqrt((500 * 10**2 + 500 * 30**2) / 2)
    assert mc_stderr_nats(scaled) == pytest.approx(expected, rel=0.08)


def test_grid_error_counts_noise_and_neither_window_nor_slope() -> None:
    windows, nodes = 300, 16
    rng = np.random.default_rng(2)
    level = np.tile((np.arange(nodes) + 1.0) / nodes, windows)
    window = np.repeat(np.arange(windows), nodes)
    value = rng.normal(size=windows)[window] * (5.0 + level) + 0.2 * rng.normal(size=len(level))
    draws = Draws(
        window=window, sample=np.tile(np.arange(nodes), windows), v=level, value_nats=value,
        difficulty=np.ones(windows), num_tokens=np.ones(windows, dtype=int), num_bytes=np.ones(windows, dtype=int),
    )  # fmt: skip
    weight = np.full(len(level), 1.0 / nodes)
    assert grid_stderr_nats(draws, weight) == pytest.approx(0.2 * math.sqrt(windows / nodes), rel=0.06)


def test_corpus_error_is_that_of_a_ratio() -> None:
    """Windows of independent rates: the spread of a mean, whatever mask rates they met."""
    draws = make_draws(3000, 2, main=0.4, noise=0.3, curve=4.0)
    expected = 10.0 * 0.4 / 20.0 / math.log(2.0) / math.sqrt(3000)
    assert corpus_stderr(draws) == pytest.approx(expected, rel=0.1)


def test_corpus_error_grows_where_neighbours_are_alike() -> None:
    apart, alike = (make_draws(3000, 2, main=0.4, serial=serial) for serial in (0.0, 1.0))
    # Pairs of equal windows halve the number of independent ones; Bartlett weights see most of it.
    assert corpus_stderr(alike) == pytest.approx(corpus_stderr(apart) * math.sqrt(2.0), rel=0.1)


def test_corpus_error_of_a_single_window_is_unknown() -> None:
    assert math.isnan(corpus_stderr(make_draws(1, 2, noise=0.1)))


def test_corpus_error_of_exact_scores_is_the_spread_of_windows() -> None:
    nats = np.random.default_rng(0).normal(30.0, 4.0, size=1000)
    index = np.arange(1000)
    draws = Draws(
        window=index, sample=np.zeros_like(index), v=np.full(1000, 0.5), value_nats=nats, difficulty=nats,
        num_tokens=np.full(1000, 10), num_bytes=np.full(1000, 20),
    )  # fmt: skip
    expected = float(np.std(nats)) / math.log(2.0) / 20.0 / math.sqrt(1000)
    assert corpus_stderr(draws) == pytest.approx(expected, rel=0.25)


def test_paired_gap_is_free_of_what_both_bounds_share() -> None:
    mc = make_draws(500, 2, noise=2.0, main=1.0, curve=4.0)
    discrete = replace(mc, value_nats=mc.value_nats + 0.7)
    gap, stderr = paired_gap(discrete, mc)
    assert gap == pytest.approx(350.0)
    assert stderr < 1e-6


def test_paired_gap_of_other_draws_is_refused() -> None:
    with pytest.raises(UsageError, match="same draws"):
        paired_gap(make_draws(20, 2, seed=1), make_draws(20, 2, seed=2))


def test_nan_is_refused() -> None:
    draws = make_draws(5, 1)
    with pytest.raises(NumericsError, match="NaN"):
        replace(draws, value_nats=np.where(draws.window == 3, np.nan, draws.value_nats))


def test_the_usual_interval_is_scipys_to_the_last_bit() -> None:
    """It is not asked for: importing it takes longer than many a score."""
    assert confidence_interval(0.0, 1.0)[1] == special.ndtri(0.5 + 0.95 / 2.0)
    assert confidence_interval(0.0, 1.0, 0.9)[1] == special.ndtri(0.5 + 0.9 / 2.0)


def test_confidence_interval_is_normal_or_student() -> None:
    low, high = confidence_interval(2.0, 0.1)
    assert (low, high) == pytest.approx((2.0 - 0.1959964, 2.0 + 0.1959964), abs=1e-6)
    assert confidence_interval(0.0, 1.0, 0.5)[1] == pytest.approx(0.6744898, abs=1e-6)
    assert confidence_interval(0.0, 1.0, degrees_of_freedom=4)[1] == pytest.approx(2.7764451, abs=1e-6)


def test_between_pass_error() -> None:
    assert between_pass_stderr([1.0, 2.0, 3.0]) == pytest.approx(1.0 / math.sqrt(3.0))
    assert math.isnan(between_pass_stderr([1.0]))
