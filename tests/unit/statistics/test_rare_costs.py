"""When the error of a sample is not to be trusted: samples made here, of honest costs and of rare large ones."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.statistics.rare_costs import DrawnCosts, TypicalCosts, reason_to_doubt

L, BLIND = 128, math.log(512)


def honest(windows, num_samples, seed=0):
    """Costs that rise with the rate, windows of their own heights, single tokens that cost from 0 to some 12 nats."""
    rng = np.random.default_rng(seed)
    window = np.repeat(np.arange(windows), num_samples)
    rate = (rng.permutation(len(window)) + rng.random(len(window))) / len(window)
    num_masked = 1 + rng.binomial(L - 1, rate)
    noise = rng.gamma(num_masked, 1.0) / num_masked - 1.0
    height = 0.3 * rng.normal(size=windows)[window]
    return DrawnCosts(window, 1.0 + 3.0 * rate**2 + height + 2.0 * noise * (1 - rate), rate, num_masked)


def with_rare(costs, which, cost=60.0):
    changed = costs.cost.copy()
    changed[which] = cost
    return DrawnCosts(costs.window, changed, costs.mask_rate, costs.num_masked)


def doubt(costs, **others):
    lengths = np.full(int(costs.window.max()) + 1, L)
    return reason_to_doubt(costs, **({"lengths": lengths, "half_width": 0.1, "blind_nats": BLIND} | others))


@pytest.mark.parametrize(("windows", "samples"), [(1, 2), (2, 2), (4, 8), (10, 2), (10, 25), (60, 1), (361, 2)])
def test_honest_samples_are_trusted(windows, samples):
    """None of 40 seeds each, beside pilots and ends of the same kind."""
    for seed in range(40):
        pilot, end = honest(20, 2, seed + 1000), replace(honest(16, 2, seed + 2000), probability=4 / L)
        assert doubt(honest(windows, samples, seed), pilot=pilot, ends=(end, end)) is None


@pytest.mark.parametrize(("windows", "samples", "rare"), [(10, 2, 1), (10, 25, 3), (361, 2, 5), (40, 1, 1)])
def test_a_few_masks_that_decide_the_error_are_named(windows, samples, rare):
    costs = with_rare(honest(windows, samples), np.arange(rare) * 3)
    assert doubt(costs).startswith(f"{rare} of {windows * samples} masks cost ")
    assert doubt(costs).endswith("times what others do, and so few decide it")


def test_twelve_of_them_show_their_own_spread():
    sample = honest(361, 2)
    assert doubt(with_rare(sample, np.arange(11) * 7)) is not None
    assert doubt(with_rare(sample, np.arange(12) * 7)) is None


def test_few_that_decide_little_are_no_reason():
    """Costs above a blind guess that vanish among others of that size."""
    sample = honest(361, 2)
    loud = DrawnCosts(sample.window, sample.cost * 40.0, sample.mask_rate, sample.num_masked)
    assert doubt(with_rare(loud, [5], 60.0)) is None


@pytest.mark.parametrize("kind", ["pilot", "ends"])
def test_what_other_draws_met_is_held_against_the_sample(kind):
    met = with_rare(honest(16, 2, 7), [0, 9])
    others = {"pilot": met} if kind == "pilot" else {"ends": (replace(met, probability=0.2),)}
    said = doubt(honest(10, 2), **others)
    assert said.startswith(
        "2 of 32 masks " + ("of the pilot's" if kind == "pilot" else "at the ends of the mask rates")
    )
    assert said.endswith("cost up to 60 nats a token, and 0 of the 20 that were drawn cost anything like it")
    assert doubt(honest(10, 2), half_width=50.0, **others) is None  # it would hardly move the interval
    many = with_rare(honest(361, 2), np.arange(12) * 7)
    assert doubt(many, **others) is None


def alike(count, cost=BLIND, num_masked=5):
    at = np.arange(count)
    return DrawnCosts(at // 2, np.full(count, cost), (at + 0.5) / count, np.full(count, num_masked))


def test_masks_that_all_cost_the_same_say_nothing_of_the_others():
    said = "all 20 masks cost the same, which says nothing of the others: up to 0.15 of all masks may cost anything"
    assert doubt(alike(20)) == said
    assert doubt(alike(2)).startswith("all 2 masks cost the same")
    assert doubt(alike(3 * L - 1)) is not None
    assert doubt(alike(3 * L)) is None
    nearly = alike(20)
    nearly.cost[3] *= 1.001
    assert doubt(nearly) is None


def whole(count, rate):
    return replace(alike(count, num_masked=L), mask_rate=np.full(count, rate))


def test_windows_that_are_always_hidden_whole_have_no_other_masks():
    assert doubt(whole(20, 1.0)) is None
    one_token = replace(whole(20, 0.5), num_masked=np.ones(20, dtype=np.int64))
    assert doubt(one_token, lengths=np.ones(10, dtype=np.int64)) is None


@pytest.mark.parametrize("count", [2, 20, 1000])
def test_windows_that_happened_to_be_hidden_whole_have_others(count):
    """A single step that hides nearly all: how many masks leave a token is known; more of the same tells nothing."""
    said = doubt(whole(count, 0.999), lengths=np.full(max(count // 2, 1), L))
    assert said == (
        f"all {count:,} masks cost the same, which says nothing of the others: up to {1 - 0.999 ** (L - 1):.2g} of all "
        "masks may cost anything"
    )
    assert doubt(whole(count, 1.0 - 1e-9), lengths=np.full(max(count // 2, 1), L)) is None


def test_windows_that_differ_are_each_looked_at():
    windows_differ = replace(whole(20, 0.999), cost=np.repeat(np.linspace(1.0, 4.0, 10), 2))
    assert doubt(windows_differ).startswith("all 20 masks of a window cost the same")
    assert doubt(replace(windows_differ, cost=np.linspace(1.0, 4.0, 20))) is None


def test_one_rare_mask_among_masks_that_cost_the_same():
    assert doubt(with_rare(alike(20), [7])).startswith("1 of 20 masks cost 10 times")


def test_typical_costs_are_not_moved_by_rare_ones():
    plain = honest(100, 2)
    typical, moved = (TypicalCosts.of(costs, BLIND) for costs in (plain, with_rare(plain, np.arange(10) * 9)))
    assert moved.curve == pytest.approx(typical.curve, abs=0.15)
    assert typical.spread <= moved.spread < 3.0 * typical.spread
    assert typical.most == pytest.approx(BLIND, rel=0.2)
    assert moved.are_far(with_rare(plain, [3]), moved.excess(with_rare(plain, [3]))).tolist() == [
        index == 3 for index in range(200)
    ]
