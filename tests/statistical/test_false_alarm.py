"""The false-alarm rate of ``check_elbo``, by the program that prints the table."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.testing import FALSE_ALARM_RATE
from bpb_harness.testing.elbo import MIN_CALLS
from tests.statistical.false_alarm import SHAPES, e_values
from tests.tiers import some_of, times


@pytest.mark.parametrize("name", some_of(SHAPES, everyday=2))
def test_e_values_of_correct_estimators(name: str) -> None:
    """e-values have mean at most 1: by Markov's inequality none of 4 reaches 20,000 but once in 5,000 runs.

    Nor does their product reach 10,000 but once in 10,000, for each shape: a whole call, closer looks included, with an
    e-value of 10 in every check in place of a mean of 1 would show there; thoroughly, of 1.8.
    """
    e = e_values(name, times(4, thorough=16), num_draws=6200)
    assert e.max() < 1.0 / FALSE_ALARM_RATE
    assert np.log(e).sum() < np.log(10_000.0)


def test_a_call_fails_once_in_ten_thousand_at_most() -> None:
    """Evidence, by Markov's inequality, and one number in all calls on any denoiser where one call in seven differs."""
    assert FALSE_ALARM_RATE + 16 * (6 / 7) ** MIN_CALLS <= 6e-5
