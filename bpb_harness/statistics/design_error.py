"""The error that a design makes of what is known of the costs: how far the places that it gives out move the total.

A regression takes out of the draws what mask rate and difficulty explain, for the strata integrate it almost exactly.
Almost: a step of a grid that ends inside a stratum is met or not, and windows whose lengths or curves differ are given
other places in other draws of the design. Beside the noise of masks that is nothing. Where costs hang on the mask rate
alone it is the whole error, and no residual shows it. So the design is drawn anew, under fixed numbers of its own, and
the fitted costs are added up at its places. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from bpb_harness.statistics.random_halving import mirrored_draws, num_depths, random_halving_ranks

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
    order = np.argsort(difficulty, kind="stable")
    window = np.repeat(np.arange(count), num_samples)
    redrawn = int(np.clip(_MAX_PLACES // max(len(window), 1), _FEWEST_REDRAWN, _MOST_REDRAWN))
    designs = iter(_kept_designs(count, redrawn) if count * redrawn <= _MAX_PLACES else _designs(count, redrawn))
    totals: list[float] = []
    while some := list(islice(designs, max(_MAX_PLACES // len(window), 1))):
        stratum = np.empty((len(some), count))
        stratum[:, order] = [ranks for ranks, _ in some]
        inside = (stratum + 1.0 - np.array([jitter for _, jitter in some])) / count
        places = mirrored_draws(inside.ravel(), num_samples).ravel()
        costs = fitted(np.tile(window, len(some)), places).reshape(len(some), -1)
        totals.extend(costs.sum(axis=1) / num_samples)
    return float(np.var(totals, ddof=1))


def _designs(count: int, redrawn: int) -> Iterator[tuple[Ints, Floats]]:
    """Of each, the windows' strata in order of difficulty, (N,), and the place inside it of each window, (N,)."""
    rng = np.random.default_rng(_SEED)
    for _ in range(redrawn):
        tossed = rng.integers(2, size=(num_depths(count) + 1, count))  # one more than it takes, as ever
        ranks = random_halving_ranks(count, tossed.__getitem__)
        yield (ranks + rng.integers(count)) % count, rng.random(count)


@lru_cache(maxsize=4)
def _kept_designs(count: int, redrawn: int) -> tuple[tuple[Ints, Floats], ...]:
    """The same, a megabyte at most: a score asks for the errors of its draws several times."""
    return tuple(_designs(count, redrawn))
