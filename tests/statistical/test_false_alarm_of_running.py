"""A right scoring function is never called wrong: a smoke of `false_alarm_of_running`, whose table has more checks.

With a rate of 1 in 10,000 the chance that one of these 40 checks is an alarm is below 0.5 %.
"""

from __future__ import annotations

import pytest

from tests.statistical.false_alarm_of_running import SHAPES, outcomes


@pytest.mark.parametrize("name", SHAPES)
def test_right_estimators_are_called_right(name: str) -> None:
    right, wrong = outcomes(name, 8)
    assert wrong == 0
    assert right >= 7
