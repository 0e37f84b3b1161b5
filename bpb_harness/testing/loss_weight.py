"""``check_loss_weight``: is the weight of the masked cross-entropies the one of the schedule?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.schedule import SCHEDULES, NoiseSchedule, parse_schedule

Floats = npt.NDArray[np.float64]
Form = Literal["sum", "mean"]

DSIGMA = "weight dsigma instead of dsigma / expm1(sigma) (on loglinear: 1/(1 - t) instead of 1/t)"
WRONG_FORM = {
    "sum": "the weight of the mean over masked tokens, -dalpha, applied to their sum",
    "mean": "the weight of the sum, -dalpha / (1 - alpha), applied to the mean over masked tokens",
}


@final
@dataclass(frozen=True)
class WeightReport:
    """The outcome of :func:`check_loss_weight`.

    Attributes:
        ok: whether the weight agrees at every time.
        max_relative_error: the largest |seen / expected - 1|.
        worst_t: where that is.
        seen: the weight there.
        expected: the right weight there.
        diagnosis: the known mistake that fits at every time, or None.
        message: the finding, for a person.
    """

    ok: bool
    max_relative_error: float
    worst_t: float
    seen: float
    expected: float
    diagnosis: str | None
    message: str


def check_loss_weight(
    weight: Callable[[Tensor], Tensor | float],
    schedule: NoiseSchedule | str,
    *,
    form: Form = "sum",
    tolerance: float = 1e-5,
) -> WeightReport:
    """Compare a loss weight with that of its schedule at 121 times, most of them close to 0 and 1.

    Pointwise comparison sees what no sampling can: an epsilon of 1e-6 in a denominator, or a weight of another schedule
    that happens to have nearly the same mean.

    Args:
        weight: ``weight(t)`` for t a float64 tensor without dimensions; anything that ``float`` takes may come back.
        schedule: the schedule of the masks, or its name.
        form: what the weight multiplies. "sum": the sum of the masked tokens' cross-entropies, whose weight is
            -dalpha / (1 - alpha); a later division by L is a change of unit and no part of it. "mean": their mean over
            the masked tokens (an estimate per token, exact for size-biased masks), whose weight is -dalpha.
        tolerance: largest relative error. Weights computed in float32 keep 1e-5 except where 1 - alpha is a difference
            of nearly equal numbers, which is a mistake of its own.

    Returns:
        A report; see :func:`assert_loss_weight` for the form that raises.

    Raises:
        UsageError: for an unknown form.
    """
    if form not in ("sum", "mean"):
        raise UsageError("form", seen=repr(form), expected='"sum" or "mean"')
    the_schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    times = _times()
    expected = _right_weight(the_schedule, times, form)
    seen = np.array([float(weight(torch.tensor(t, dtype=torch.float64))) for t in times])
    error = _relative_error(seen, expected)
    worst = int(np.argmax(error))
    ok = bool(error[worst] <= tolerance)
    diagnosis = None if ok else _diagnose(seen, times, the_schedule, form, tolerance)
    facts = f"at t = {times[worst]:.6g} it is {seen[worst]:.9g}, expected {expected[worst]:.9g}"
    name = "-dalpha / (1 - alpha)" if form == "sum" else "-dalpha"
    if ok:
        message = f"The weight is {name} of {the_schedule} to {error[worst]:.1g} at all {len(times)} times."
    else:
        message = (
            f"WRONG WEIGHT: not {name} of {the_schedule}: {facts}."
            f" Diagnosis: {diagnosis or 'none of the known mistakes fits'}."
        )
    return WeightReport(
        ok, float(error[worst]), float(times[worst]), float(seen[worst]), float(expected[worst]), diagnosis, message
    )


def assert_loss_weight(
    weight: Callable[[Tensor], Tensor | float],
    schedule: NoiseSchedule | str,
    *,
    form: Form = "sum",
    tolerance: float = 1e-5,
) -> WeightReport:
    """:func:`check_loss_weight` for a test: raise where the weight is wrong.

    Raises:
        AssertionError: with the report's message.
    """
    __tracebackhide__ = True
    report = check_loss_weight(weight, schedule, form=form, tolerance=tolerance)
    if not report.ok:
        raise AssertionError(report.message)
    return report


def _times() -> Floats:
    """Times in (0, 1), thinning out geometrically towards both ends, down to 1e-5."""
    tail = np.geomspace(1e-5, 0.05, 40, endpoint=False)
    return np.concatenate([tail, np.linspace(0.05, 0.95, 41), 1.0 - tail[::-1]])


def _right_weight(schedule: NoiseSchedule, times: Floats, form: Form) -> Floats:
    slope, rates = _slope_and_rate(schedule, times)
    return slope / rates if form == "sum" else slope


def _slope_and_rate(schedule: NoiseSchedule, times: Floats) -> tuple[Floats, Floats]:
    """-dalpha and 1 - alpha; the latter never as a difference, which would leave few digits at small t."""
    t = torch.from_numpy(times)
    return (
        np.asarray(schedule.dmask_rate(t).numpy(), dtype=np.float64),
        np.asarray(schedule.mask_rate(t).numpy(), dtype=np.float64),
    )


def _relative_error(seen: Floats, expected: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        error = np.abs(seen / expected - 1.0)
    return np.where(np.isnan(error), np.inf, error)


def _diagnose(seen: Floats, times: Floats, schedule: NoiseSchedule, form: Form, tolerance: float) -> str | None:
    def fits(candidate: Floats) -> bool:
        return bool(_relative_error(seen, candidate).max() <= 10 * tolerance)

    for name, candidate in _candidates(times, schedule, form).items():
        if fits(candidate):
            return name
    return _epsilon(seen, times, schedule, form, fits)


def _candidates(times: Floats, schedule: NoiseSchedule, form: Form) -> dict[str, Floats]:
    slope, rates = _slope_and_rate(schedule, times)
    right = slope / rates if form == "sum" else slope
    named: dict[str, Floats] = {
        "the sign of dalpha: the weight is negative": -right,
        DSIGMA: slope / (1.0 - rates),
        "no weight": np.ones_like(times),
        "1/t applied twice": slope / rates**2,
        WRONG_FORM[form]: slope if form == "sum" else slope / rates,
        "dalpha left out: 1 / (1 - alpha)": 1.0 / rates,
        "1/t whatever the schedule": 1.0 / times,
    }  # fmt: skip
    for name in SCHEDULES:
        if type(schedule).name != name:
            named[f"the weight of another schedule, {name}"] = _right_weight(parse_schedule(name), times, form)
    return named


def _epsilon(
    seen: Floats, times: Floats, schedule: NoiseSchedule, form: Form, fits: Callable[[Floats], bool]
) -> str | None:
    """A constant in the denominator, read off the smallest time."""
    if form != "sum":
        return None
    slope, rates = _slope_and_rate(schedule, times)
    epsilon = float(slope[0] / seen[0] - rates[0]) if seen[0] > 0 else math.nan
    if math.isfinite(epsilon) and epsilon > 0 and fits(slope / (rates + epsilon)):
        return f"{epsilon:.2g} added inside the weight: -dalpha / (1 - alpha + epsilon) is too small, a bound no longer"
    cap = float(seen.max())
    if fits(np.minimum(slope / rates, cap)):
        return f"the weight is clipped at {cap:.6g}: what is cut off is a part of the bound"
    late = np.searchsorted(times, float(times[np.argmax(seen != seen[0])]))
    if late > 1 and fits(np.where(np.arange(len(times)) < late, seen[0], slope / rates)):
        return f"t is clamped below at about {times[late]:.2g}: the integral stops there"
    return None
