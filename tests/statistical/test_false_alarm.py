"""The false-alarm rate of ``check_elbo``, by the program that prints the table."""

from __future__ import annotations

import pytest

from bpb_harness.testing import FALSE_ALARM_RATE
from tests.statistical.false_alarm import SHAPES, e_values


@pytest.mark.parametrize("name", SHAPES)
def test_e_values_of_correct_estimators(name: str) -> None:
    """e-values have mean at most 1: by Markov's inequality none of 8 reaches 20,000 but once in 2,500 runs."""
    e = e_values(name, 8, num_draws=6200)
    assert e.max() < 1.0 / FALSE_ALARM_RATE
