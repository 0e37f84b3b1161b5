"""How large an error would have been found: the estimates of a check, scaled, and judged again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from bpb_harness.testing.runs import Run, evidence_of_runs

STEPS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Relative errors that are tried."""


@final
@dataclass(frozen=True)
class Resolution:
    """The smallest relative errors, the same on all denoisers, that these estimates would have shown.

    Attributes:
        low: of estimates that are too low; None where none of :data:`STEPS` would have been found.
        high: of estimates that are too high.
    """

    low: float | None
    high: float | None

    def __str__(self) -> str:
        """In one sentence, without a full stop."""
        found = [f"{error:.0%} too {way}" for way, error in (("low", self.low), ("high", self.high)) if error]
        if not found:
            return f"no error below {STEPS[-1]:.0%} of the bound would have been found in these draws"
        more = "smaller ones, or errors on some masks alone, need not have been"
        return f"what is {' or '.join(found)} on all denoisers would have been found in these draws; {more}"


def resolution_of(runs: list[Run], is_enough: Callable[[float], bool]) -> Resolution | None:
    """The resolution of what was drawn; None where there is no chance in it, and rounding alone hides anything.

    Args:
        runs: of an estimator that nothing speaks against.
        is_enough: whether so much evidence, a logarithm, calls an estimator wrong.
    """
    if all(run.is_constant for run in runs):
        return None
    return Resolution(*(_first_found(runs, side, is_enough) for side in (-1.0, 1.0)))


def _first_found(runs: list[Run], side: float, is_enough: Callable[[float], bool]) -> float | None:
    """The smallest step at which scaled estimates are found out, by halving: evidence grows with the error."""
    least, most = 0, len(STEPS)
    while least < most:
        middle = (least + most) // 2
        evidence = evidence_of_runs([run.scaled(1.0 + side * STEPS[middle]) for run in runs])
        if is_enough(evidence) or math.isinf(evidence):
            most = middle
        else:
            least = middle + 1
    return STEPS[least] if least < len(STEPS) else None
