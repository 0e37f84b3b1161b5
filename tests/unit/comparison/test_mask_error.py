"""The error of a difference from masks: equal ones draw by draw, others in squares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.comparison.mask_error import _difference, mask_error, shared_variance
from bpb_harness.statistics.random_halving import mirrored_draws
from bpb_harness.statistics.standard_errors import Draws, grid_stderr_nats, mc_stderr_nats
from tests.scores import SIGNATURE, costs_of, draws_of

COUNT = 40
BYTES = np.full(COUNT, 64.0)


def sampled(value, *, stderr=5.0, **more):
    draws = draws_of(value, **more)
    return costs_of(value.mean(axis=1), BYTES, relation="~<=", stderr=stderr, draws=draws)


@pytest.fixture
def values():
    rng = np.random.default_rng(1)
    common = rng.normal(100.0, 20.0, (COUNT, 2))
    return common, common + rng.normal(3.0, 0.5, (COUNT, 2))


def test_equal_masks_are_compared_draw_by_draw(values):
    one, other = (sampled(value) for value in values)
    found = mask_error(one, other)
    draws = one.draws
    expected = mc_stderr_nats(Draws(
        window=draws.window, sample=draws.sample, v=draws.v, level=draws.v,
        value_nats=(values[1] - values[0]).ravel(), difficulty=draws.difficulty, num_tokens=np.full(COUNT, 32),
        num_bytes=BYTES,
    ))  # fmt: skip
    assert (found.masks, found.why, found.stderr_nats) == ("same", "", expected)
    assert found.stderr_nats < 0.1 * mc_stderr_nats(Draws(
        window=draws.window, sample=draws.sample, v=draws.v, level=draws.v, value_nats=values[0].ravel(),
        difficulty=draws.difficulty, num_tokens=np.full(COUNT, 32), num_bytes=BYTES,
    ))  # fmt: skip
    assert found.interval(1.0, 2.0) == pytest.approx((1.0 - 1.96 * 2 * expected, 1.0 + 1.96 * 2 * expected), rel=1e-4)


def test_a_difference_follows_the_rates_that_both_were_told(values):
    """On a grid the mask rate is what costs follow, and not the place from which it was rounded."""
    steps = np.ceil(draws_of(values[0]).v * 4.0) / 4.0
    one, other = (sampled(value, level=steps) for value in (values[0], values[0] + 50.0 * steps.reshape(COUNT, 2)))
    blind = [replace(each, draws=replace(each.draws, level=each.draws.v)) for each in (one, other)]
    assert mask_error(one, other).stderr_nats < 0.5 * mask_error(*blind).stderr_nats  # steps that end inside strata


@pytest.mark.parametrize(("coarse", "fine"), [(4, 128), (128, 4), (8, 16), (16, None), (None, 8)])
@pytest.mark.parametrize("num_samples", [1, 2, 4])
def test_what_one_grid_jumps_beside_another_is_no_error_of_masks(coarse, fine, num_samples):
    """Bounds of other --steps at equal places: the jump is a curve in the rates, which the design integrates."""
    rng, count = np.random.default_rng(2), 96
    hardness = rng.normal(1.0, 0.1, count)
    told, blind, seen = [], [], []
    for _ in range(40):
        v = mirrored_draws((rng.permutation(count) + rng.random(count)) / count, num_samples)
        noise = rng.normal(0.0, 2.0, (2, count, num_samples))
        one, other = (
            at_places(v, v if steps is None else np.ceil(v * steps) / steps, hardness, noise[side])
            for side, steps in enumerate((coarse, fine))
        )
        told.append(mask_error(one, other).stderr_nats)
        unaware = [replace(each, draws=replace(each.draws, level=each.draws.v)) for each in (one, other)]
        blind.append(mask_error(*unaware).stderr_nats)
        seen.append(other.nats - one.nats)
    spread = np.std(seen, ddof=1)
    assert 0.8 * spread < rms(told) < 1.35 * spread
    assert rms(blind) > (2.2 if 4 in {coarse, fine} else 1.1) * spread


def test_both_rates_step_where_their_grids_do():
    v = mirrored_draws((np.arange(40) + 0.5) / 40, 2)
    one, other = (at_places(v, np.ceil(v * steps) / steps, np.ones(40), np.zeros((40, 2))) for steps in (4, 8))
    rates, less = _difference(one, one.draws, other.draws).both_rates_at(np.array([0.1, 0.3, 0.45, 0.95]))
    assert rates.tolist() == [0.125, 0.375, 0.5, 1.0]
    assert less.tolist() == [0.25, 0.5, 0.5, 1.0]


def at_places(v, rate, hardness, noise):
    """Windows whose costs rise with the mask rate, the harder ones more."""
    count = len(v)
    value = 100.0 * hardness[:, None] * (0.2 + rate**1.3) + noise
    draws = replace(draws_of(value), v=v.ravel(), level=rate.ravel(), difficulty=hardness)
    return costs_of(value.mean(axis=1), np.full(count, 64.0), relation="~<=", stderr=5.0, draws=draws)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_of_few_draws_no_jump_is_fitted():
    """It would take what is noise for a curve."""
    rng = np.random.default_rng(0)
    v = mirrored_draws((rng.permutation(12) + rng.random(12)) / 12, 2)
    noise = rng.normal(0.0, 2.0, (2, 12, 2))
    one, other = (at_places(v, np.ceil(v * 8.0 * k) / (8.0 * k), np.ones(12), noise[k - 1]) for k in (1, 2))
    assert _difference(one, one.draws, other.draws).regression.basis.jumps == 0
    assert mask_error(one, other).stderr_nats > 0.7 * 2.0 * 12**0.5


def test_several_passes_show_it_themselves(values):
    one, other = (sampled(value, num_passes=2) for value in values)
    found = mask_error(one, other)
    assert found.masks == "same"
    assert 0.0 < found.stderr_nats < 5.0
    assert found.degrees_of_freedom is not None


def test_every_node_of_a_grid(values):
    value = np.hstack([*values, values[0] + 1.0])
    share = np.full(6 * COUNT, 1.0 / 6.0)
    one, other = (sampled(each, share=share) for each in (value, value + np.tile(np.arange(6.0), (COUNT, 1))))
    draws = one.draws
    difference = Draws(
        window=draws.window, sample=draws.sample, v=draws.v, value_nats=np.tile(np.arange(6.0), COUNT),
        difficulty=draws.difficulty, num_tokens=np.full(COUNT, 32), num_bytes=BYTES,
    )  # fmt: skip
    assert mask_error(one, other).stderr_nats == pytest.approx(grid_stderr_nats(difference, share), abs=1e-9)


def test_second_draws_of_spans_take_part(values):
    again = {"num_replicates": COUNT, "window": np.tile(np.arange(COUNT), 2), "sample": np.repeat([0, 1], COUNT)}
    one, other = (sampled(value, **again) for value in values)
    found = mask_error(one, other)
    assert found.masks == "same"

    def drawn(rows, replicates):
        kept = one.draws
        return Draws(
            window=kept.window[rows], sample=kept.sample[rows], v=kept.v[rows], level=kept.level[rows],
            value_nats=(values[1] - values[0]).ravel()[rows], difficulty=kept.difficulty,
            num_tokens=np.full(COUNT, 32), num_bytes=BYTES, replicates=replicates,
        )  # fmt: skip

    first, second = slice(COUNT), slice(COUNT, None)
    assert found.stderr_nats == mc_stderr_nats(drawn(first, drawn(second, None)))
    assert found.stderr_nats != mc_stderr_nats(drawn(first, None))
    assert mask_error(one, sampled(values[1])).why == "other numbers of draws"


def test_independent_rates_show_the_error_of_each_span(values):
    one, other = (sampled(value, is_independent=True) for value in values)
    difference = values[1] - values[0]
    expected = math.sqrt((difference.var(axis=1, ddof=1) / 2.0).sum())
    found = mask_error(one, other)
    assert found.stderr_nats == pytest.approx(expected)
    assert 1.0 < found.degrees_of_freedom < COUNT
    single = [sampled(value[:, :1], is_independent=True) for value in values]
    assert mask_error(*single).stderr_nats is None
    assert mask_error(*single).interval(0.0, 1.0) is None


def test_what_differs_is_named(values):
    one = sampled(values[0])
    for other, why in (
        (replace(sampled(values[1]), signature=str(replace(SIGNATURE, seed="1"))), "seeds 0 and 1"),
        (sampled(values[1], seed=1), "draws at other places"),
        (sampled(values[1][:, :1]), "other numbers of draws"),
        (sampled(values[1], num_passes=2), "other numbers of draws"),
        (sampled(values[1], is_independent=True), "other numbers of draws"),
        (replace(sampled(values[1]), tokens="9" * 64), "other tokens"),
        (replace(sampled(values[1]), ends=one.ends + 1), "other windows"),
        (replace(sampled(values[1]), starts=one.starts + 1), "other windows"),
    ):
        found = mask_error(one, other)
        assert (found.masks, found.why) == ("independent", why)
        assert found.stderr_nats == pytest.approx(math.sqrt(50.0))


def test_errors_of_other_masks_add_in_squares(values):
    exact = costs_of(values[0].mean(axis=1), BYTES)
    found = mask_error(exact, sampled(values[1], stderr=3.0))
    assert (found.masks, found.why, found.stderr_nats, found.degrees_of_freedom) == ("independent", "", 3.0, None)
    few = replace(sampled(values[1], stderr=4.0, seed=1), degrees_of_freedom=10.0)
    found = mask_error(sampled(values[0], stderr=3.0), few)
    assert found.stderr_nats == 5.0
    assert found.degrees_of_freedom == pytest.approx(625.0 / (256.0 / 10.0))
    unknown = sampled(values[1], stderr=None)
    assert mask_error(exact, unknown).stderr_nats is None


def test_what_documents_that_share_windows_do_not_show(values):
    one, other = (sampled(value) for value in values)
    exact = costs_of(values[0].mean(axis=1), BYTES)
    assert shared_variance(one, other) == 0.0
    halves = [replace(each, share_apart=0.25) for each in (one, other)]
    assert shared_variance(*halves) == pytest.approx(0.75 * mask_error(one, other).stderr_nats ** 2)
    assert shared_variance(exact, halves[1]) == shared_variance(halves[1], exact) == 0.75 * 25.0
    apart = replace(halves[1], signature=str(replace(SIGNATURE, seed="1")))
    assert shared_variance(halves[0], apart) == 2 * 0.75 * 25.0
    unknown = replace(halves[1], stderr_nats=None)
    assert math.isinf(shared_variance(exact, unknown))
    assert shared_variance(exact, replace(unknown, share_apart=1.0)) == 0.0


def test_draws_without_an_error_are_draws(values):
    alike = [sampled(np.full((COUNT, 2), level), stderr=0.0) for level in (100.0, 90.0)]
    found = mask_error(*alike)
    assert (found.masks, found.stderr_nats) == ("same", pytest.approx(0.0, abs=1e-9))


def test_nothing_is_drawn_for_exact_lengths(values):
    exact = costs_of(values[0].mean(axis=1), BYTES)
    found = mask_error(exact, costs_of(values[1].mean(axis=1), BYTES, relation="<="))
    assert (found.masks, found.stderr_nats, found.interval(0.5, 1.0)) == ("none", 0.0, (0.5, 0.5))
    # Levels that an enumeration draws are drawn, whatever the design says of it.
    assert mask_error(exact, costs_of(values[1].mean(axis=1), BYTES, stderr=2.0)).stderr_nats == 2.0
