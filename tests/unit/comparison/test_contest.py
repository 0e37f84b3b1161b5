"""The contest's rule: 0.005 nats per token at p < 0.01, Welch over seeds."""

from __future__ import annotations

import pytest
from scipy import stats

from bpb_harness.comparison.contest import contest_rule
from bpb_harness.errors import UsageError

BASE = [2.3010, 2.3003, 2.2998, 2.3005]


def test_it_is_welch_against_the_margin():
    better = [2.2935, 2.2929, 2.2938]
    found = contest_rule(BASE, better)
    expected = stats.ttest_ind([x - 0.005 for x in BASE], better, equal_var=False, alternative="greater").pvalue
    assert found.p == pytest.approx(expected)
    assert found.holds
    assert (found.num_baseline, found.num_candidate, found.margin_nats, found.level) == (4, 3, 0.005, 0.01)
    assert found.sentence().startswith(
        "contest's rule holds: the mean of 3 runs is 0.00700 nats per token below that of 4 of the baseline (2.30040);"
    )


def test_better_by_less_than_the_margin_does_not_hold():
    found = contest_rule(BASE, [x - 0.004 for x in BASE])
    assert not found.holds
    assert found.p > 0.5
    assert found.sentence().startswith("contest's rule does not hold: ")
    assert not contest_rule(BASE, [x + 0.02 for x in BASE]).holds
    noisy = contest_rule(BASE, [2.29, 2.27, 2.30])
    assert noisy.baseline_nats_per_token - noisy.candidate_nats_per_token > 0.005
    assert not noisy.holds


@pytest.mark.parametrize("runs", [([2.3], [2.2, 2.1]), ([2.3, 2.2], [2.1])])
def test_too_few_runs_are_refused(runs):
    with pytest.raises(UsageError, match="expected two or more of each"):
        contest_rule(*runs)


def test_runs_that_do_not_differ_are_refused():
    with pytest.raises(UsageError, match="runs that do not differ"):
        contest_rule([2.3, 2.3], [2.2, 2.2])
