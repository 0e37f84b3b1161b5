"""The curve f(u) and what follows from it."""

import itertools

import numpy as np
import pytest

from bpb_harness.estimators.curve import MaskedEntropyCurve
from bpb_harness.evaluation.compare import riemann_gap
from bpb_harness.schedule import parse_schedule


def cubic(u):
    return 1.0 + 3.0 * u + 2.0 * u**2 - u**3


def fitted(f=cubic, noise=0.0, count=600, seed=0) -> MaskedEntropyCurve:
    rng = np.random.default_rng(seed)
    u = rng.uniform(0, 1, count)
    return MaskedEntropyCurve.fit(u, f(u) + noise * rng.standard_normal(count), np.full(count, 64.0), np.arange(count))


def test_a_cubic_is_recovered_exactly():
    u = np.linspace(0, 1, 11)
    values, errors = fitted().at(u)
    np.testing.assert_allclose(values, cubic(u), rtol=1e-9)
    assert errors.max() < 1e-9


@pytest.mark.parametrize("name", ["loglinear", "loglinear[0.001]", "cosine-mdlm", "cosine-md4[0.01]", "polynomial[2]"])
@pytest.mark.parametrize("num_steps", [1, 8, 128])
def test_the_gap_is_the_right_end_riemann_sum_minus_the_integral(name, num_steps):
    schedule = parse_schedule(name)
    low, high = schedule.min_mask_rate, schedule.max_mask_rate
    grid = schedule.grid(num_steps).tolist()
    riemann = sum((b - a) * cubic(b) for a, b in itertools.pairwise(grid))

    def antiderivative(u):
        return u + 3 * u**2 / 2 + 2 * u**3 / 3 - u**4 / 4

    gap, _ = riemann_gap(fitted(), schedule, num_steps)
    assert gap == pytest.approx(riemann - (antiderivative(high) - antiderivative(low)), rel=1e-7, abs=1e-10)


def test_on_a_uniform_grid_the_gap_is_half_a_step_of_the_rise():
    gap, _ = riemann_gap(fitted(), parse_schedule("loglinear"), 1000)
    assert gap == pytest.approx((cubic(1.0) - cubic(0.0)) / 2000, rel=1e-3)


def test_standard_errors_are_the_spread_over_repeats():
    """Spread over 200 repeats within 20 % of the stated error: false alarm below 1e-4 (a spread's own se is 5 %)."""
    schedule = parse_schedule("loglinear")
    repeats = [fitted(noise=0.5, count=300, seed=seed) for seed in range(200)]
    gaps, gap_errors = np.array([riemann_gap(curve, schedule, 16) for curve in repeats]).T
    assert np.std(gaps) == pytest.approx(gap_errors.mean(), rel=0.2)
    middle = np.array([[part[0] for part in curve.at(np.array([0.5]))] for curve in repeats])
    assert np.std(middle[:, 0]) == pytest.approx(middle[:, 1].mean(), rel=0.2)


def test_draws_of_one_window_count_as_alike():
    """Noise shared by the draws of a window must not shrink with their number."""
    rng = np.random.default_rng(1)
    u = rng.uniform(0, 1, 400)
    window = np.repeat(np.arange(40), 10)
    shared = rng.standard_normal(40)[window]
    curve = MaskedEntropyCurve.fit(u, cubic(u) + shared, np.full(400, 64.0), window)
    apart = MaskedEntropyCurve.fit(u, cubic(u) + shared, np.full(400, 64.0), np.arange(400))
    nodes, weights = curve.integral_nodes(0.0, 1.0)
    assert curve.weighted_sum(nodes, weights)[1] > 2 * apart.weighted_sum(nodes, weights)[1]


def test_few_draws_still_fit():
    curve = MaskedEntropyCurve.fit(np.array([0.2, 0.8]), np.array([1.0, 2.0]), np.array([8.0, 8.0]), np.array([0, 1]))
    values, _ = curve.at(np.array([0.2, 0.8]))
    np.testing.assert_allclose(values, [1.0, 2.0], atol=1e-9)
