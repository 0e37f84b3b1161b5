"""Both bounds from coupled draws, and whether their gap is the one that f(u) implies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bpb_harness.estimators import DiscreteBound
from bpb_harness.estimators.curve import MaskedEntropyCurve
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.result import Comparison
from bpb_harness.schedule import NoiseSchedule
from bpb_harness.statistics.differences import paired_gap
from bpb_harness.units import nats_to_bits

CONSISTENT_WITHIN_STDERRS = 4.0  # false alarm of a normal error: 6e-5
MIN_DRAWS = 48  # of different masks: where fewer make up the gap, its error is itself a guess (docs/errors.md)
T_CURVE_STEPS = (8, 16, 32, 64, 128, 256, 512, 1024)
_F_CURVE_RATES = (0.001, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999)


def compare_bounds(discrete: SampledBound, continuous: SampledBound) -> Comparison:
    """Compare the two bounds of one model on the same windows.

    Args:
        discrete: the T-step bound.
        continuous: the continuous bound, its draws row for row coupled to the discrete ones.
    """
    bound, layout = discrete.bound, discrete.layout
    assert isinstance(bound, DiscreteBound)
    curve = _fit(discrete, continuous)
    total_tokens = layout.spans.num_tokens

    def per_byte(nats: float) -> float:
        return nats_to_bits(nats) / layout.total_units

    def t_curve_row(num_steps: int) -> tuple[float, float]:
        gap, _ = riemann_gap(curve, bound.schedule, num_steps)
        return float(num_steps), per_byte(continuous.nats + total_tokens * gap)

    gap_nats, gap_stderr_nats = paired_gap(discrete.draws, continuous.draws, len(discrete.passes))
    predicted, predicted_stderr = riemann_gap(curve, bound.schedule, bound.num_steps)
    combined = math.hypot(gap_stderr_nats, predicted_stderr * total_tokens)
    agree = abs(gap_nats - predicted * total_tokens) <= CONSISTENT_WITHIN_STDERRS * combined
    return Comparison(
        discrete=per_byte(discrete.nats),
        mc=per_byte(continuous.nats),
        gap_bits_per_byte=per_byte(gap_nats),
        gap_stderr=per_byte(gap_stderr_nats),
        predicted_gap_bits_per_byte=per_byte(predicted * total_tokens),
        predicted_gap_stderr=per_byte(predicted_stderr * total_tokens),
        consistent=None if _num_different(discrete.table, continuous.table) < MIN_DRAWS else agree,
        threshold=CONSISTENT_WITHIN_STDERRS,
        t_curve=(*map(t_curve_row, T_CURVE_STEPS), (math.inf, per_byte(continuous.nats))),
        f_curve=_f_table(curve, bound.schedule),
    )


def riemann_gap(curve: MaskedEntropyCurve, schedule: NoiseSchedule, num_steps: int) -> tuple[float, float]:
    """T-step minus continuous bound, and its standard error, in nats per token (MATHS.md, equation 12)."""
    grid = schedule.grid(num_steps).numpy()
    return curve.riemann_gap(grid[1:], np.diff(grid), schedule.min_mask_rate, schedule.max_mask_rate)


def _num_different(discrete: DrawTable, continuous: DrawTable) -> int:
    """How many draws hide more tokens for one bound than for the other: the smaller mask lies in the larger one."""
    count = discrete.plan.num_weighed
    return int((discrete.num_masked[:count] != continuous.num_masked[:count]).sum())


def _fit(discrete: SampledBound, continuous: SampledBound) -> MaskedEntropyCurve:
    tables = (discrete.table, continuous.table)

    def weighed(column: Callable[[DrawTable], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([column(table)[: table.plan.num_weighed] for table in tables])

    window = weighed(lambda table: table.plan.window)
    return MaskedEntropyCurve.fit(
        weighed(lambda table: table.plan.mask_rate),
        weighed(lambda table: table.nats_per_masked),
        discrete.layout.lengths[window].astype(np.float64),
        window,
    )


def _f_table(curve: MaskedEntropyCurve, schedule: NoiseSchedule) -> tuple[tuple[float, float, float], ...]:
    rates = np.array([mask_rate for mask_rate in _F_CURVE_RATES if mask_rate <= schedule.max_mask_rate])
    values, errors = curve.at(rates)
    return tuple(
        (float(mask_rate), nats_to_bits(float(value)), nats_to_bits(float(error)))
        for mask_rate, value, error in zip(rates, values, errors, strict=True)
    )
