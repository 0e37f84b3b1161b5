"""Differences of two bounds that saw equal masks, draw by draw, and how far their sum may be off. No torch here.

What both owe to their masks drops out of the differences. Where the two round the mask rate in different ways (one has
steps, the other has more of them, or none), the mean of a difference jumps with where the one rate lies beside the
other. The design integrates that as it does any curve, so it is fitted as such (:class:`Draws`, ``coarse_level``).
Derivation: MATHS.md, section 11.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.statistics.standard_errors import Draws, mc_stderr_nats


def difference(one: Draws, other: Draws) -> Draws:
    """The draws of the other less those of the one, at equal places, windows and samples."""
    one_is_fine = len(np.unique(one.rates)) > len(np.unique(other.rates))
    return _difference(one, other, one_is_fine=one_is_fine, jumps=not np.array_equal(one.rates, other.rates))


def _difference(one: Draws, other: Draws, *, one_is_fine: bool, jumps: bool) -> Draws:
    fine, coarse = (one, other) if one_is_fine else (other, one)
    again = None
    if one.replicates is not None and other.replicates is not None:
        again = _difference(one.replicates, other.replicates, one_is_fine=one_is_fine, jumps=jumps)
    return replace(
        one, value_nats=other.value_nats - one.value_nats, level=fine.rates, level_at=fine.level_at,
        coarse_level=coarse.rates if jumps else None, coarse_level_at=coarse.level_at if jumps else None,
        replicates=again,
    )  # fmt: skip


def paired_gap(discrete: Draws, mc: Draws, num_passes: int = 1) -> tuple[float, float]:
    """Gap of two coupled bounds, discrete minus continuous, and its standard error, in nats.

    Args:
        discrete: draws of the T-step bound.
        mc: draws of the continuous one: the same windows, samples and v, row by row.
        num_passes: how many independent passes they are of.

    Raises:
        UsageError: if the draws are not coupled.
    """
    coupled = _same_places(discrete, mc) and (discrete.replicates is None) == (mc.replicates is None)
    if coupled and discrete.replicates is not None and mc.replicates is not None:
        coupled = _same_places(discrete.replicates, mc.replicates)
    if not coupled:
        raise UsageError("the two bounds were not measured with the same draws", hint="pass --compare")
    differences = difference(mc, discrete)
    return math.fsum(differences.window_nats), mc_stderr_nats(differences, num_passes)


def _same_places(one: Draws, other: Draws) -> bool:
    pairs = ((one.window, other.window), (one.sample, other.sample), (one.v, other.v))
    return all(np.array_equal(first, second) for first, second in pairs)
