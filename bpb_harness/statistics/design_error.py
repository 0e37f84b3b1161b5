"""The error that a design makes of what is known of the costs: how far the places that it gives out move the total.

A regression takes out of the draws what mask rate and difficulty explain, for the strata integrate it almost exactly.
Almost: a step of a grid that ends inside a stratum is met or not, and windows whose lengths or curves differ are given
other places in other draws of the design. Beside the noise of masks that is nothing. Where costs hang on the mask rate
alone it is the whole error, and no residual shows it. So the design is drawn anew, under fixed numbers of its own, and
the fitted costs are added up at its places. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bpb_harness.statistics.random_halving import mirrored_draws, random_halving_ranks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SEED = 20260
_MOST_REDRAWN, _FEWEST_REDRAWN = 32, 8
_MAX_PLACES = 1 << 16  # over all that is drawn anew: more only where a few would be too few


def design_variance(fitted: Callable[[Ints, Floats], Floats], difficulty: Floats, num_samples: int) -> float:
    """Variance over designs of the sum over windows of the mean of what their draws are fitted to cost.

    Args:
        fitted: of windows (n,) and places v (n,), what a draw costs there, (n,).
        difficulty: (N,), by which the design orders the windows.
        num_samples: K, draws a window.
    """
    count = len(difficulty)
    rng = np.random.default_rng(_SEED)
    order = np.argsort(difficulty, kind="stable")
    window = np.repeat(np.arange(count), num_samples)
    totals = []
    for _ in range(int(np.clip(_MAX_PLACES // max(len(window), 1), _FEWEST_REDRAWN, _MOST_REDRAWN))):
        halved = random_halving_ranks(count, lambda _: rng.integers(2, size=count))
        stratum = np.empty(count)
        stratum[order] = (halved + rng.integers(count)) % count
        places = mirrored_draws((stratum + 1.0 - rng.random(count)) / count, num_samples)
        totals.append(float(fitted(window, places.ravel()).sum()) / num_samples)
    return float(np.var(totals, ddof=1))
