"""How many passes a tolerance takes, and what several of them say of their own error."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpb_harness.statistics.repeats import MAX_COUNT, PassSpread, passes_for, spread_of_passes
from bpb_harness.statistics.standard_errors import Draws

KNOWN = PassSpread(1.0, 2, math.inf, 1000, 0.0)


def made_up(windows, passes, seed=0, per_pass=1):
    rng = np.random.default_rng(seed)
    window = np.repeat(np.arange(windows), passes * per_pass)
    value = 10.0 * window + rng.normal(size=len(window))
    return Draws(
        window=window, sample=np.tile(np.arange(passes * per_pass), windows), v=rng.random(len(window)),
        value_nats=value, difficulty=np.arange(windows, dtype=float), num_tokens=np.full(windows, 4),
        num_bytes=np.full(windows, 9),
    )  # fmt: skip


def test_an_error_known_for_certain_takes_the_textbooks_number():
    for half_width in (0.5, 0.1, 0.01):
        count = passes_for(half_width, KNOWN, 1.0, 400, 1, fewest=1)
        assert count == math.ceil((stats.norm.ppf(0.975) / half_width) ** 2 * 1.0) or count == pytest.approx(
            (1.96 / half_width) ** 2, rel=0.02
        )


def test_never_fewer_than_asked_and_far_tolerances_come_back():
    assert passes_for(1e9, KNOWN, 1.0, 400, 1, fewest=1) == 1
    assert passes_for(1e9, KNOWN, 1.0, 400, 1, fewest=2) == 2
    assert passes_for(1e-7, KNOWN, 1.0, 400, 1, fewest=1) == pytest.approx(1.96**2 * 1e14, rel=1e-3)
    assert passes_for(0.1, KNOWN, 0.0, 400, 1, fewest=1) == 1
    for half_width in (1e-12, 1e-30, 1e-160, 1e-300):  # of which the numbers are too large for a float, or a range
        assert passes_for(half_width, KNOWN, 1.0, 400, 1, fewest=1) == MAX_COUNT


def test_what_is_not_known_makes_passes_more():
    sure = passes_for(0.1, KNOWN, 1.0, 400, 1, fewest=1)
    unsure = passes_for(0.1, replace(KNOWN, independent=100, relative_error=0.14), 1.0, 400, 1, fewest=1)
    assert 1.15 * sure < unsure < 1.35 * sure
    few = passes_for(0.5, KNOWN, 1.0, 5, 1, fewest=2)  # few strata: Student's t with few degrees of freedom
    assert few > passes_for(0.5, KNOWN, 1.0, 400, 1, fewest=2)
    narrow = passes_for(0.25, KNOWN, 1.0, 5, 1, fewest=2)
    assert narrow > few
    # One pass would do by the normal law; two show their own error, by Student's t with one degree of freedom.
    assert passes_for(3.0, KNOWN, 1.0, 5, 1, fewest=1) == 1
    assert passes_for(3.0, KNOWN, 1.0, 5, 1, fewest=2) == 4


def test_windows_own_heights_are_no_error_of_passes():
    """Variance of the sum over 60 windows of the mean of 5 unit normals: 12."""
    found = spread_of_passes(made_up(60, 5), 5)
    assert found.variance == pytest.approx(12.0, rel=0.35)
    assert found.independent == 60 * 4
    assert 0.3 * 240 < found.degrees_of_freedom <= 240
    assert found.relative_error == pytest.approx(math.sqrt(2 / 240), rel=0.4)


def test_draws_of_one_pass_are_averaged_first():
    draws = made_up(30, 4, per_pass=2)
    assert spread_of_passes(draws, 4).variance == pytest.approx(30 / 8, rel=0.5)


def test_of_few_strata_the_totals_of_the_passes_decide():
    draws = made_up(3, 6)
    totals = np.asarray(draws.value_nats).reshape(3, 6).sum(axis=0)
    found = spread_of_passes(draws, 6)
    assert found.variance == pytest.approx(totals.var(ddof=1) / 6)
    assert found.independent == 5
    assert 1.0 <= found.degrees_of_freedom <= 5


def test_every_node_of_a_grid_needs_no_curve():
    draws = made_up(8, 3, per_pass=4)
    weight = np.tile([0.1, 0.2, 0.3, 0.4], 24)
    by_pass = (np.asarray(draws.value_nats) * weight).reshape(8, 3, 4).sum(axis=2)
    assert spread_of_passes(draws, 3, weight).variance == pytest.approx(float(by_pass.var(axis=1, ddof=1).sum()) / 3)


def test_passes_that_agree_have_no_error():
    draws = made_up(3, 2)
    same = replace(draws, value_nats=np.ones(6))
    assert spread_of_passes(same, 2) == PassSpread(0.0, 2, math.inf, 1, 0.0)


def test_a_few_large_deviations_leave_few_degrees_of_freedom():
    draws = made_up(60, 5)
    value = np.asarray(draws.value_nats).copy()
    value[7] += 1000.0
    skewed = spread_of_passes(replace(draws, value_nats=value), 5)
    assert skewed.degrees_of_freedom < 10
    assert skewed.relative_error > 0.8
