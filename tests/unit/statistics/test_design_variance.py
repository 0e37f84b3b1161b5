"""The error of a design is the spread of the fitted total over designs that are drawn anew, one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bpb_harness.statistics.design_error import design_variance
from bpb_harness.statistics.random_halving import random_halving_ranks

Floats = npt.NDArray[np.float64]


def one_by_one(weight: Floats, difficulty: Floats, num_samples: int, redrawn: int) -> float:
    """Of the cost ``weight[window] * v**2``, written out design by design."""
    rng = np.random.default_rng(20260)
    count = len(difficulty)
    order = np.argsort(difficulty, kind="stable")
    totals = []
    for _ in range(redrawn):
        tossed = [rng.integers(2, size=count) for _ in range((count - 1).bit_length() + 1)]
        ranks = (random_halving_ranks(count, tossed.__getitem__) + rng.integers(count)) % count
        jitter = rng.random(count)
        inside = (ranks + 1.0 - jitter[order]) / count  # of the windows in order of difficulty
        places = [(k + (1.0 - inside if k % 2 else inside)) / num_samples for k in range(num_samples)]
        totals.append(sum(float((weight[order] * v * v).sum()) for v in places) / num_samples)
    return float(np.var(totals, ddof=1))


@pytest.mark.parametrize(
    ("count", "num_samples", "redrawn"), [(5, 1, 32), (64, 1, 32), (64, 3, 32), (700, 8, 11), (8300, 1, 8)]
)
def test_designs_are_drawn_anew_and_added_up(count: int, num_samples: int, redrawn: int) -> None:
    """Twice with other windows: what is kept of their number hangs on nothing else. Of 8,300 nothing is kept."""
    for seed in range(2):
        rng = np.random.default_rng([count, seed])
        weight, difficulty = rng.random(count), rng.random(count)
        found = design_variance(lambda window, v, weight=weight: weight[window] * v * v, difficulty, num_samples)
        assert found == pytest.approx(one_by_one(weight, difficulty, num_samples, redrawn), rel=1e-6)
