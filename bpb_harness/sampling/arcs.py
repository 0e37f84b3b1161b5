"""Masks that hide every target once: arcs of a circle on which each target has a random place.

Each target has an independent place tau, uniform on a circle of length 1. The arc [j u, (j + 1) u) hides the targets
that stand in it; one that runs beyond 1 goes on from 0. Whatever its own tau, every other target is hidden in its arc
with probability u, independently: given that it is hidden, the mask is that of the bound at mask rate u. So one round
of at most 1 / u + 1 masks, and never more than there are targets, prices every target once (MATHS.md, section 12).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def arcs(places: Floats, mask_rate: float) -> tuple[Bools, Bools]:
    """The masks of one round.

    Args:
        places: tau of each target, (L,) in [0, 1).
        mask_rate: u, in (0, 1].

    Returns:
        Which targets each mask hides, and which of them it is the arc of, (n, L) each; of every target one.
    """
    number = np.floor(places / mask_rate)
    own = np.unique(number)[:, None] == number
    begin = np.unique(number)[:, None] * mask_rate
    hidden = np.mod(places - begin, 1.0) < mask_rate
    return hidden | own, own


def num_arcs(places: Floats, mask_rate: float) -> int:
    """How many masks that are."""
    return len(np.unique(np.floor(places / mask_rate)))
