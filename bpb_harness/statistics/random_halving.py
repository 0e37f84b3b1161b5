"""The strata of a design, by random halving: which window looks at which part of the mask rates. No torch here.

:mod:`bpb_harness.sampling.design` gives out the places of a score by it, and :mod:`.design_error` gives them out anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Coins = Callable[[int], Ints]


def mirrored_draws(inside: Floats, num_samples: int) -> Floats:
    """Where the draws of each window look: one in each K-th of (0, 1), in every second one at the mirrored place.

    Args:
        inside: the place within its K-th, (N,) in (0, 1].
        num_samples: K.

    Returns:
        v of each draw, (N, K) in (0, 1].
    """
    sample = np.arange(num_samples)
    # A mirrored draw is never the first, so v stays above 0.
    mirrored = np.where(sample % 2 == 1, 1.0 - inside[:, None], inside[:, None])
    return np.asarray((sample + mirrored) / num_samples)


def random_halving_ranks(count: int, coins: Coins) -> npt.NDArray[np.int64]:
    """A random permutation that keeps neighbours apart at every scale.

    Of each two neighbours one, by a fair coin, goes to the lower half of the ranks, the other to the upper; then the
    same within each half. An odd one out goes up. For a power of two every rank is uniform on 0 .. count - 1; for other
    counts a random cyclic shift of the ranks makes it so.

    Args:
        count: how many windows, in order of difficulty.
        coins: depth of the recursion -> (count,) fair coins, 0 or 1.

    Returns:
        (count,) rank of each window.
    """
    ranks = np.empty(count, dtype=np.int64)
    groups = _Groups(np.arange(count), np.array([count]), np.zeros(1, dtype=np.int64))
    depth = 0
    while len(groups.members):
        alone = groups.sizes == 1
        ranks[groups.members[groups.spread(alone)]] = groups.firsts[alone]
        groups = groups.without(alone)
        groups, depth = groups.halved(coins(depth)), depth + 1
    return ranks


@dataclass(frozen=True)
class _Groups:
    """Windows that share a range of ranks: all groups of one depth, one after the other.

    Attributes:
        members: of all groups, each in order of difficulty.
        sizes: of each group.
        firsts: lowest rank of each group.
    """

    members: Ints
    sizes: Ints
    firsts: Ints

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Each group's value, once for each of its members."""
        return np.repeat(values, self.sizes)

    def without(self, gone: npt.NDArray[np.bool_]) -> _Groups:
        return _Groups(self.members[~self.spread(gone)], self.sizes[~gone], self.firsts[~gone])

    def halved(self, tossed: Ints) -> _Groups:
        """Toss one coin a pair, in the order of the members; of at least two members each."""
        halves = self.sizes // 2
        pair, place = np.divmod(np.arange(len(self.members)) - self.spread(np.cumsum(self.sizes) - self.sizes), 2)
        is_odd_one = pair == self.spread(halves)
        coin = self.spread(np.cumsum(halves) - halves) + np.where(is_odd_one, 0, pair)
        goes_up = is_odd_one | (place != tossed[coin])
        order = np.argsort(2 * self.spread(np.arange(len(halves))) + goes_up, kind="stable")
        return _Groups(
            self.members[order],
            np.stack([halves, self.sizes - halves], axis=1).ravel(),
            np.stack([self.firsts, self.firsts + halves], axis=1).ravel(),
        )
