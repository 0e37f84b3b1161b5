"""The strata of a design, by random halving: which window looks at which part of the mask rates. No torch here.

:mod:`bpb_harness.sampling.design` gives out the places of a score by it, and :mod:`.design_error` gives them out anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Coins = Callable[[int], Ints]

_MOST_KEPT = 1 << 12  # windows: a megabyte


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
    members = np.arange(count)  # in order of their ranks, as far as the coins of the depths so far settle it
    # Those of few windows are kept, whose errors draw a design again and again.
    for depth, halving in enumerate(_kept_halvings(count) if count <= _MOST_KEPT else _halvings(count)):
        halved = np.empty_like(members)
        halved[halving.tails + halving.further * coins(depth)[halving.coin]] = members
        members = halved
    ranks = np.empty_like(members)
    ranks[members] = np.arange(count)
    return ranks


def num_depths(count: int) -> int:
    """How often so many windows are halved until each is alone."""
    return (count - 1).bit_length() if count else 0


@final
@dataclass(frozen=True)
class _Halving:
    """What one depth does to windows in order of their ranks: it hangs on their number alone, but for the coins.

    Attributes:
        tails: (count,) where each goes if its pair's coin shows 0.
        further: (count,) how much further if it shows 1; 0 for one that has no pair.
        coin: (count,) which of the coins is its pair's.
    """

    tails: Ints
    further: Ints
    coin: Ints


@lru_cache(maxsize=8)
def _kept_halvings(count: int) -> tuple[_Halving, ...]:
    return tuple(_halvings(count))


def _halvings(count: int) -> Iterator[_Halving]:
    """Of each depth. Groups share a range of ranks and lie one after the other; pairs take coins in that order."""
    sizes = np.array([count])
    while sizes.max() > 1:
        halves = sizes // 2
        first, half, first_coin = (
            np.repeat(of_group, sizes) for of_group in (np.cumsum(sizes) - sizes, halves, np.cumsum(halves) - halves)
        )
        pair, place = np.divmod(np.arange(count) - first, 2)
        paired = pair < half
        yield _Halving(
            tails=first + pair + np.where(paired, place, 1) * half,
            further=np.where(paired, 1 - 2 * place, 0) * half,
            coin=np.where(paired, first_coin + pair, 0),
        )
        sizes = np.stack([halves, sizes - halves], axis=1).ravel()
        sizes = sizes[sizes > 0]
