"""Differences of draws of two bounds: which rates they depend on, and which error follows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.statistics.differences import difference, paired_gap
from bpb_harness.statistics.random_halving import mirrored_draws
from bpb_harness.statistics.standard_errors import (
    Draws,
    mc_stderr_nats,
    unexplained_variance,
    with_design_variance,
)

TOKENS = 10


def placed(num_windows: int, num_samples: int, *, seed: int = 0, num_replicates: int = 0) -> Draws:
    """Draws of the design whose values are 0."""
    rng = np.random.default_rng(seed)
    v = mirrored_draws((rng.permutation(num_windows) + rng.random(num_windows)) / num_windows, num_samples).ravel()
    window = np.append(np.repeat(np.arange(num_windows), num_samples), np.arange(num_replicates))
    sample = np.append(np.tile(np.arange(num_samples), num_windows), np.full(num_replicates, num_samples))
    return Draws(
        window=window, sample=sample, v=np.append(v, rng.random(num_replicates)), value_nats=np.zeros(len(window)),
        difficulty=rng.normal(100.0, 10.0, num_windows), num_tokens=np.full(num_windows, TOKENS),
        num_bytes=np.full(num_windows, 20),
    ).parted(num_replicates)  # fmt: skip


def at_steps(draws: Draws, num_steps: int | None, *, noise: float = 0.0, seed: int = 1) -> Draws:
    """The same places, of a bound whose costs rise with its rate; None: of continuous time."""
    again = None if draws.replicates is None else at_steps(draws.replicates, num_steps, noise=noise, seed=seed + 1)

    def level_at(v: np.ndarray) -> np.ndarray:
        return 0.9 * (v if num_steps is None else np.ceil(v * num_steps) / num_steps)

    level = level_at(draws.v)
    hard = (draws.difficulty / 100.0)[draws.window]
    value = TOKENS * hard * (1.0 + 2.0 * level + level**2) + np.random.default_rng(seed).normal(0.0, noise, len(level))
    return replace(draws, value_nats=value, level=level, level_at=level_at, replicates=again)


def blind(draws: Draws) -> Draws:
    """Which take v for what they depend on."""
    again = None if draws.replicates is None else blind(draws.replicates)
    nothing = dict.fromkeys(("level", "level_at", "coarse_level", "coarse_level_at"))
    return replace(draws, replicates=again, **nothing)


@pytest.mark.parametrize("num_steps", [2, 4, 8, 16])
@pytest.mark.parametrize("num_samples", [1, 2, 4])
def test_jumps_at_the_ends_of_strata_are_no_error(num_samples, num_steps):
    places = placed(96, num_samples)
    discrete, mc = at_steps(places, num_steps), at_steps(places, None)
    gap, stderr = paired_gap(discrete, mc)
    assert gap == pytest.approx(discrete.window_nats.sum() - mc.window_nats.sum(), rel=1e-12)
    assert stderr < 0.25 * mc_stderr_nats(blind(difference(mc, discrete)))


def test_the_finer_rates_are_the_ones_that_jumps_are_seen_beside():
    places = placed(60, 2)
    discrete, mc = at_steps(places, 8), at_steps(places, None)
    one, other = difference(mc, discrete), difference(discrete, mc)
    assert np.array_equal(one.value_nats, -other.value_nats)
    for each in (one, other):
        assert np.array_equal(each.level, mc.level)
        assert np.array_equal(each.coarse_level, discrete.level)
        rates, coarse = each.both_rates_at(np.array([0.01, 0.3, 0.99]))
        assert rates == pytest.approx([0.009, 0.27, 0.891])
        assert coarse == pytest.approx([0.1125, 0.3375, 0.9])
    assert mc_stderr_nats(one) == pytest.approx(mc_stderr_nats(other))


def test_of_equal_rates_nothing_jumps():
    places = placed(60, 2)
    found = difference(at_steps(places, 8), at_steps(places, 8, noise=1.0))
    assert found.coarse_level is None
    assert found.coarse_level_at is None
    assert not found.has_jumps
    assert found.regression.basis.jumps == 0


def test_second_draws_jump_too():
    places = placed(64, 1, num_replicates=32)
    found = difference(at_steps(places, None), at_steps(places, 8))
    again = found.replicates
    assert again is not None
    assert places.replicates is not None
    assert again.level == pytest.approx(0.9 * places.replicates.v)
    assert again.coarse_level == pytest.approx(0.9 * np.ceil(places.replicates.v * 8.0) / 8.0)
    assert mc_stderr_nats(found) < 0.5 * mc_stderr_nats(blind(found))


def test_the_design_s_error_of_jumps_counts_beside_any_noise():
    """Steps that end inside strata: each is met or not."""
    places = placed(60, 1)
    found = difference(at_steps(places, None), at_steps(places, 8, noise=4.0))
    design, unexplained = found.regression.design_variance(found), unexplained_variance(found)
    assert 0.0 < design < 0.5 * unexplained
    assert mc_stderr_nats(found) == math.sqrt(unexplained + design)
    assert with_design_variance(1.0, 0.25) == 1.0
    assert with_design_variance(1.0, 0.25, has_jumps=True) == 1.25


def test_of_few_draws_jumps_are_noise():
    places = placed(47, 1)
    found = difference(at_steps(places, None), at_steps(places, 4))
    assert not found.has_jumps
    assert mc_stderr_nats(found) > 0.8 * mc_stderr_nats(blind(found))
    assert difference(*(at_steps(placed(48, 1), steps) for steps in (None, 4))).has_jumps


def test_each_pass_has_a_design_of_its_own():
    """Two of 60 strata each integrate jumps less well than one of 120 would."""
    one, other = (placed(60, 1, seed=seed) for seed in (3, 4))
    rows = np.lexsort((np.repeat([0, 1], 60), np.tile(np.arange(60), 2)))
    both = replace(
        one, window=np.tile(np.arange(60), 2)[rows], sample=np.repeat([0, 1], 60)[rows],
        v=np.append(one.v, other.v)[rows], value_nats=np.zeros(120),
    )  # fmt: skip
    discrete, mc = at_steps(both, 8, noise=1.0), at_steps(both, None, noise=1.0, seed=5)
    found = difference(mc, discrete)
    design = found.regression.design_variance(found, 2)
    stderr = paired_gap(discrete, mc, 2)[1]
    assert stderr == pytest.approx(math.sqrt(unexplained_variance(found) + design / 2.0))
    assert stderr > paired_gap(discrete, mc)[1]


def test_rates_of_a_grid_are_known_between_draws():
    """Each ends where it lies itself, as a share of the largest."""
    v = np.array([0.02, 0.13, 0.2, 0.26, 0.49, 0.52, 0.7, 0.76, 0.9, 0.99])
    places = replace(placed(10, 1), v=v, level=0.8 * np.ceil(v * 4.0) / 4.0, coarse_level=0.8 * np.ceil(v * 2.0) / 2.0)
    rates, coarse = places.both_rates_at(np.array([0.001, 0.249, 0.251, 0.5, 0.501, 0.749, 0.751, 1.0]))
    assert rates == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8])
    assert coarse == pytest.approx([0.4, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8, 0.8])
