"""What a scoring function returned on the oracle, held against every known mean: a bound, a mistake, neither."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bpb_harness.auditing.script.running.known_means import (
    LENGTH,
    PROBES,
    Mean,
    Setting,
    bounds,
    costs_of,
    mistakes,
)
from bpb_harness.units import NATS_PER_BIT

Floats = NDArray[np.float64]

# A mean fits where it is met within so many standard errors, or so far relative (float32, an eps of 1e-3).
_FITS, _ROUNDING = 5.0, 0.006
# It is excluded where a probe misses it by so many standard errors and so far: P(|t| > 9) is 2e-6 with 11 degrees of
# freedom, the fewest.
_EXCLUDED, _EXCLUDED_BY = 9.0, 0.02
_COARSE = 0.1  # relative standard error of a probe: above it nothing is said
_MAX_CALLS = 1 << 17  # of a network in one call; far fewer are let through, and tables of so many steps are made
_SAME_RATE = 0.03
# Of n network calls the variance is known to sqrt(2 / n); a rate drawn anew for each window of 4 doubles it.
_MANY_CALLS, _STEADY = 500, 0.25
_DISPERSION = 0.1  # of the rows' numbers of hidden tokens, relative to a binomial's


@dataclass(frozen=True)
class Measured:
    """The returned numbers of one function on every probe.

    Attributes:
        means: for each of `PROBES` the mean over calls of every returned number, (numbers,).
        errors: their standard errors.
        rows: windows of a call.
        num_clean: ids that the oracle gave a chance.
        rotation: see `costs_of`.
        setting: network calls, rates, levels.
        bytes_per_window: of the text, by the official rule.
        unmasked: positions that were never hidden where the first token is a boundary.
        boundary: the mean of every returned number there; None where the tokenizer has none.
        has_frozen_noise: whether the same number came back call after call although masks look random.
    """

    means: tuple[Floats, ...]
    errors: tuple[Floats, ...]
    rows: int
    num_clean: int
    rotation: int
    setting: Setting
    bytes_per_window: int
    unmasked: tuple[int, ...]
    boundary: tuple[float, ...] | None
    has_frozen_noise: bool

    @property
    def numbers(self) -> int:
        """How many numbers the function returns."""
        return len(self.means[0])


@dataclass(frozen=True)
class Fit:
    """A known mean that explains one of the returned numbers.

    Attributes:
        mean: the mean.
        number: which of the returned numbers.
        unit: what it is in: "nats a token", ..
        misfit: sum of squared deviations, in standard errors.
    """

    mean: Mean
    number: int
    unit: str
    misfit: float


def read_measured(reply: Mapping[str, object], size: int, bytes_per_window: int) -> Measured | str:
    """The numbers of a reply of the limited process; a sentence where they are not what was asked for."""
    try:
        return _read(reply, size, bytes_per_window)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        return "its answer is none of the limited process's"


def _read(reply: Mapping[str, object], size: int, bytes_per_window: int) -> Measured | str:
    runs = reply["masks"]
    assert isinstance(runs, list)
    by_probe = {str(run["probe"]): run for run in runs}
    means, errors, spreads = [], [], []
    for probe in PROBES:
        returned = np.asarray(by_probe[probe]["returned"], dtype=np.float64)
        if returned.ndim != 2 or len(returned) < 4 or not np.isfinite(returned).all():
            return "it does not return the same numbers in every call"
        means.append(returned.mean(axis=0))
        errors.append(returned.std(axis=0, ddof=1) / math.sqrt(len(returned)))
        spreads.append(np.ptp(returned, axis=0).max())
    if len({len(mean) for mean in means}) > 1:
        return "it does not return the same numbers in every call"
    _doubt_zeros(means, errors, int(by_probe[PROBES[0]]["rows"]) * len(by_probe[PROBES[0]]["returned"]))
    last, boundary = by_probe[PROBES[-1]], by_probe.get("boundary")
    vocab_size = int(str(reply["vocabulary"]))
    raw_levels = reply["levels"]
    assert isinstance(raw_levels, list)
    levels = tuple(sorted({float(level) for level in raw_levels}))[:4]
    ever = boundary["ever"] if boundary else last["ever"]
    assert 0 < int(last["calls"]) <= _MAX_CALLS
    assert 0 < int(last["rows"]) <= _MAX_CALLS
    is_random = int(str(reply["masks_seen"])) > LENGTH + 2
    return Measured(
        means=tuple(means),
        errors=tuple(errors),
        rows=int(last["rows"]),
        num_clean=int(str(reply["clean"])),
        rotation=int(str(reply["rotation"])),
        setting=Setting(min(vocab_size, size + 1), int(last["calls"]), int(last["rows"]), _fixed_rates(last), levels),
        bytes_per_window=bytes_per_window,
        unmasked=tuple(place for place, was in enumerate(ever) if not was),
        boundary=tuple(np.asarray(boundary["returned"], dtype=np.float64).mean(axis=0).tolist()) if boundary else None,
        has_frozen_noise=is_random and all(spread == 0.0 for spread in spreads),
    )


def _doubt_zeros(means: list[Floats], errors: list[Floats], windows: int) -> None:
    """Where a number is 0 in every call, rare masks may never have come: its error is not 0, but that of a count."""
    largest = np.abs(np.array(means)).max(axis=0)
    for mean, error in zip(means, errors, strict=True):
        never = mean == 0.0
        error[never] = largest[never] / math.sqrt(max(windows, 1))


def _fixed_rates(run: Mapping[str, object]) -> tuple[float, ...] | None:
    """The mask rates of a call, ascending, each once; None where they are drawn anew in every call."""
    rates, rows = run["rates"], int(str(run["rows"]))
    if not isinstance(rates, list) or not rates:
        return None
    tokens = max(float(str(run["tokens_a_call"])), 1.0)
    if tokens < rows * LENGTH and not _is_steady(run):  # windows one by one: a single one tells nothing of its rate
        return None
    if tokens >= rows * LENGTH and float(str(run["spread"])) > 4.0 * 0.5 / math.sqrt(rows * LENGTH):
        return None
    # Rates that change from row to row leave the mean of a call alone, but not the spread of its rows.
    if abs(float(str(run["dispersion"])) - 1.0) > _DISPERSION:
        return None
    ordered = sorted(float(rate) for rate in rates)
    returned = run["returned"]
    assert isinstance(returned, list)
    deviation = 0.5 / math.sqrt(len(returned) * tokens)
    middle = sum(ordered) / len(ordered)
    if len(ordered) > 1 and max(ordered[-1] - middle, middle - ordered[0]) < 5.0 * deviation:
        return (_rounded(middle),)  # the same rate in every call, one window after the other
    groups: list[list[float]] = [[ordered[0]]]
    for before, rate in pairwise(ordered):
        if rate - before > _SAME_RATE:
            groups.append([])
        groups[-1].append(rate)
    if any(group[-1] - group[0] > 2.0 * _SAME_RATE for group in groups):
        return None  # a fine grid: the formulas of T steps describe it
    return tuple(_rounded(sum(group) / len(group)) for group in groups)


def _is_steady(run: Mapping[str, object]) -> bool:
    """Whether the rates of network calls vary from call to call by what chance does to fixed ones, by many of them."""
    returned, rates = run["returned"], run["rates"]
    assert isinstance(returned, list)
    assert isinstance(rates, list)
    return len(returned) * len(rates) >= _MANY_CALLS and abs(float(str(run["between"])) - 1.0) <= _STEADY


def _rounded(rate: float) -> float:
    """A rate that a script writes down, where the measured one is near it."""
    near = round(rate * 20.0) / 20.0
    return near if abs(near - rate) < 0.008 else rate


def units(measured: Measured) -> dict[str, float]:
    """What a number of nats a window becomes in each unit."""
    per_byte = 1.0 / (NATS_PER_BIT * max(measured.bytes_per_window, 1))
    scales = {"nats a window": 1.0, "nats a token": 1.0 / LENGTH, "nats of the batch": float(measured.rows)}
    in_bits = {name.replace("nats", "bits"): scale / NATS_PER_BIT for name, scale in scales.items()}
    return {**scales, **in_bits, "bits a byte": per_byte}


def fits(measured: Measured, known: Sequence[Mean], in_units: Mapping[str, float] | None = None) -> Iterator[Fit]:
    """Every known mean that one of the numbers has on all probes, in one of the units."""
    for mean in known:
        for number in range(measured.numbers):
            for unit, scale in (in_units or units(measured)).items():
                misfit = _misfit(measured, mean, number, scale)
                if misfit is not None:
                    yield Fit(mean, number, unit, misfit)


def are_excluded(measured: Measured, known: Sequence[Mean]) -> bool:
    """Whether no number has any of these means, whatever its unit: each is missed clearly by some probe."""
    return not any(
        _is_possible(measured, mean, number, scale)
        for mean in known
        for number in range(measured.numbers)
        for scale in units(measured).values()
    )


def is_coarse(measured: Measured, number: int) -> bool:
    """Whether the number varies too much from call to call for anything to be said."""
    for mean, error in zip(measured.means, measured.errors, strict=True):
        if error[number] > _COARSE * max(abs(mean[number]), 1e-12):
            return True
    return False


def all_bounds(measured: Measured) -> list[Mean]:
    """The bounds that the function may compute."""
    return list(bounds(measured.setting))


def all_mistakes(measured: Measured) -> list[Mean]:
    """The mistakes that it may make."""
    return list(mistakes(measured.setting))


def _targets(measured: Measured, mean: Mean, scale: float) -> list[float]:
    return [mean.nats(costs_of(probe, measured.num_clean, measured.rotation)) * scale for probe in PROBES]


def _misfit(measured: Measured, mean: Mean, number: int, scale: float) -> float | None:
    total = 0.0
    for target, value, error in zip(_targets(measured, mean, scale), measured.means, measured.errors, strict=True):
        seen, spread = float(value[number]), float(error[number])
        if math.isinf(target):
            continue
        slack = math.hypot(spread, _ROUNDING * abs(target) / _FITS + 1e-4 * scale)
        deviation = abs(seen - target) / slack
        if deviation > _FITS:
            return None
        total += deviation**2
    finite = [t for t in _targets(measured, mean, scale) if math.isfinite(t)]
    return total if len(finite) == len(PROBES) or _diverges_too(measured, mean, number, scale) else None


def _diverges_too(measured: Measured, mean: Mean, number: int, scale: float) -> bool:
    """An infinite mean cannot be measured, only seen to be far above what its finite neighbours are."""
    targets = _targets(measured, mean, scale)
    finite = [t for t in targets if math.isfinite(t)]
    seen = [float(value[number]) for value, t in zip(measured.means, targets, strict=True) if math.isinf(t)]
    return len(finite) >= 2 and min(seen) > 1.3 * LENGTH * math.log(measured.num_clean) / LENGTH * scale


def _is_possible(measured: Measured, mean: Mean, number: int, scale: float) -> bool:
    for target, value, error in zip(_targets(measured, mean, scale), measured.means, measured.errors, strict=True):
        if math.isinf(target):
            continue
        gap = abs(float(value[number]) - target)
        if gap > _EXCLUDED * float(error[number]) + _EXCLUDED_BY * abs(target) + 1e-4 * scale:
            return False
    return True
