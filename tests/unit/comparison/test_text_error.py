"""The error of a ratio over units, p by flips of signs and by resampling, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bpb_harness.comparison import text_error
from bpb_harness.comparison.text_error import MAX_UNITS, NUM_RESAMPLES, TextError, grouped, holm, holm_or_less


def units(count: int, *, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(5.0, 0.5, count)).round()
    return sizes * (shift + rng.normal(0.0, 1.0, count)), sizes


def test_the_error_is_that_of_a_ratio_of_sums():
    differences, sizes = np.array([3.0, -1.0, 2.0]), np.array([10.0, 20.0, 30.0])
    found = TextError.of(differences, sizes)
    assert found.ratio == pytest.approx(4.0 / 60.0)
    away = [3.0 - 10 / 15, -1.0 - 20 / 15, 2.0 - 30 / 15]
    assert found.stderr == pytest.approx((1.5 * sum(x * x for x in away)) ** 0.5 / 60.0)


def test_flips_of_signs_are_those_of_scipy():
    differences, sizes = units(9, shift=0.4)
    found = TextError.of(differences, sizes)
    for alternative, ours in (("less", found.p_below()), ("two-sided", found.p_other())):
        theirs = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=2**9, alternative=alternative
        )
        assert ours == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.way == "sign flips"


def test_few_units_say_how_small_a_p_they_can_show():
    for count in (2, 3, 15):
        found = TextError.of(-np.ones(count), np.ones(count))
        assert found.least_p == found.p_other() == 2.0 ** (1 - count)
    assert TextError.of(-np.ones(16), np.ones(16)).least_p is None
    assert TextError.of(-np.ones(1), np.ones(1)).least_p is None


def test_the_smallest_p_of_few_units():
    found = TextError.of(-np.ones(6), np.ones(6) * 10.0)
    assert found.p_below() == 2.0**-6
    assert found.p_other() == 2.0**-5


@pytest.mark.parametrize("count", [10, 40])
def test_a_margin_is_a_shift(count):
    differences, sizes = units(count, shift=-0.2)
    moved = TextError.of(differences + 0.3 * sizes, sizes)
    assert TextError.of(differences, sizes).p_below(-0.3) == pytest.approx(moved.p_below(), abs=2e-3)
    assert TextError.of(differences, sizes).p_other(-0.3) == pytest.approx(moved.p_other(), abs=4e-3)


@pytest.mark.parametrize("count", [12, 40])
def test_an_exchange_of_the_systems_exchanges_the_tails(count):
    differences, sizes = units(count, shift=0.2)
    one, other = TextError.of(differences, sizes), TextError.of(-differences, sizes)
    assert one.p_other() == pytest.approx(other.p_other(), abs=1e-12)
    assert one.interval() == pytest.approx([-x for x in reversed(other.interval())])


@pytest.mark.parametrize("count", [6, 7, 9, 12, 15, 16, 40, 200])
@pytest.mark.parametrize("unseen", [0.0, 0.5])
def test_p_and_interval_agree(count, unseen):
    """Whatever the units are like, also where they show but a part of the error: 0 is outside just where p < 0.05."""
    outside = 0
    for seed in range(25 if count < 100 else 6):
        differences, sizes = units(count, shift=-2.4 / count**0.5, seed=seed)
        differences += sizes * np.random.default_rng(seed).exponential(1.0, count) / count**0.5  # skewed
        alone = TextError.of(differences, sizes)
        found = TextError.of(differences, sizes, (unseen * alone.stderr * sizes.sum()) ** 2)
        low, high = found.interval()
        assert low < found.ratio < high
        assert (found.p_other() < 0.05) == (not low <= 0.0 <= high), seed
        for end, out in ((low, -1.0), (high, 1.0)):
            beyond = 1e-6 * out * found.stderr
            assert found.p_other(end + beyond) < 0.05 <= found.p_other(end - beyond)
        outside += not low <= 0.0 <= high
    assert outside


def test_the_interval_of_few_units_is_what_their_flips_leave():
    """Of six: the least and the largest ratio of a unit, for no two of them are left out at 1/32."""
    differences, sizes = np.array([-4.0, -2.0, -5.0, -1.0, -3.0, -9.0]), np.array([10.0, 10.0, 20.0, 10.0, 10.0, 15.0])
    assert TextError.of(differences, sizes).interval() == pytest.approx((-0.6, -0.1))


def test_the_ends_of_the_interval_are_where_p_is_5_percent():
    """Of skewed units, whose interval is not central."""
    rng = np.random.default_rng(2)
    sizes = np.exp(rng.normal(0.0, 0.5, 30))
    found = TextError.of(sizes * rng.exponential(1.0, 30), sizes)
    low, high = found.interval()
    assert high - found.ratio > 1.3 * (found.ratio - low)
    assert found.p_other(low) == pytest.approx(0.05, abs=2e-3)
    assert found.p_other(high) == pytest.approx(0.05, abs=2e-3)


def test_large_effects_have_the_smallest_p():
    found = TextError.of(*units(100, shift=5.0))
    assert found.p_other() == pytest.approx(2.0 / (NUM_RESAMPLES + 1.0))
    assert found.p_below() == 1.0
    assert found.p_below(100.0) == pytest.approx(1.0 / (NUM_RESAMPLES + 1.0))


def test_no_difference_at_all_is_no_evidence():
    for count in (6, 40):
        found = TextError.of(np.zeros(count), np.ones(count))
        assert found.p_other() == 1.0
        assert found.p_below() == 1.0
        assert found.interval() == (0.0, 0.0)


@pytest.mark.parametrize(
    ("count", "level", "is_known"), [(5, 0.95, False), (6, 0.95, True), (5, 0.9, True), (2, 0.9, False)]
)
def test_units_too_few_for_their_p_have_no_interval(count, level, is_known):
    """However alike they are: the least p of five is 1/16."""
    found = TextError.of(np.linspace(1.0, 1.01, count), np.ones(count))
    assert found.least_p == 2.0 ** (1 - count)
    assert (found.interval(level) is not None) == is_known
    assert found.stderr is not None


def test_a_difference_that_all_units_share_is_the_surest():
    found = TextError.of(-np.arange(1.0, 41.0), np.arange(1.0, 41.0))
    assert found.ratio == -1.0
    assert found.p_below() < 1e-3
    assert found.p_below(-1.0) == 1.0
    assert found.p_below(-2.0) > 0.99


@pytest.mark.parametrize("count", [12, 40])
def test_what_units_do_not_show_widens_the_error(count):
    differences, sizes = units(count, shift=-0.5)
    alone = TextError.of(differences, sizes)
    total = sizes.sum()
    both = TextError.of(differences, sizes, (2.0 * alone.stderr * total) ** 2)
    assert both.stderr == pytest.approx(5.0**0.5 * alone.stderr)
    assert both.p_below() > 2.0 * alone.p_below()
    assert np.ptp(both.interval()) == pytest.approx(5.0**0.5 * np.ptp(alone.interval()))
    unknown = TextError.of(differences, sizes, float("inf"))
    assert (unknown.stderr, unknown.p_other(), unknown.interval()) == (None, None, None)


def test_one_unit_tells_nothing():
    found = TextError.of(np.array([5.0]), np.array([10.0]))
    assert (found.ratio, found.stderr, found.interval(), found.p_other(), found.p_below()) == (
        0.5, None, None, None, None,
    )  # fmt: skip


def test_many_units_are_taken_together_by_neighbours():
    differences, sizes = units(3 * MAX_UNITS + 1)
    found = TextError.of(differences, sizes)
    assert MAX_UNITS / 2 <= found.num_units <= MAX_UNITS
    assert found.differences.sum() == pytest.approx(differences.sum())
    assert grouped(np.arange(7.0), 3).tolist() == [3.0, 18.0]


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.04, 0.09, None, 0.09])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


def test_what_is_corrected_may_be_less_where_what_it_is_of_may_be():
    """10,000 resamples tell no p below 0.0002: three times that, or of a larger p beside it, is not."""
    assert holm_or_less([0.0002, 0.0002, 0.0002]) == [True] * 3
    assert holm([0.0002, 0.0002, 0.0002]) == pytest.approx([0.0006] * 3)
    assert holm_or_less([0.0002, 0.01, None, 0.00021]) == [True, False, False, True]
    assert holm_or_less([0.0002, 0.0003]) == [True, True]  # 0.0004 of the first, and of the second no less than that
    assert holm_or_less([0.0002, 0.0005]) == [True, False]
    assert holm_or_less([0.0003, 0.9]) == [False, False]
    assert holm_or_less([]) == []


def test_skewed_units_of_unequal_length_are_not_called_significant_too_often(monkeypatch):
    """400 texts of 30 such units without any difference: 5 % is 20 +- 4.4; more than 38 happens in 1 of 10,000."""
    monkeypatch.setattr(text_error, "NUM_RESAMPLES", 499)
    rng = np.random.default_rng(5)
    low = 0
    for _ in range(400):
        sizes = np.exp(rng.normal(0.0, 0.7, 30))
        low += TextError.of(sizes * (rng.exponential(1.0, 30) - 1.0), sizes).p_other() < 0.05
    assert low <= 38
