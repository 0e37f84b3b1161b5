"""How many digits of a difference, or of its error, are shown: four decimals, more where these would show nothing."""

from __future__ import annotations

import math

DECIMALS = 4
_MAX_DECIMALS = 12  # a power of ten says more than this many zeros


def decimals_of(number: float) -> int:
    """Four; of a number that would be 0.0000, up to its second significant digit, but no more than 12."""
    if number == 0.0 or float(f"{number:.{DECIMALS}f}") != 0.0:
        return DECIMALS
    return min(1 - math.floor(math.log10(abs(number))), _MAX_DECIMALS)


def said_size(difference: float) -> str:
    """How large a difference is, without its sign."""
    return _said(abs(difference), decimals_of(difference), "")


def said_difference(difference: float) -> str:
    """A difference with its sign."""
    return _said(difference, decimals_of(difference), "+")


def said_interval(interval: tuple[float, float], difference: float) -> str:
    """The ends of an interval of a difference, each with no fewer decimals than the difference has."""
    return " .. ".join(_said(end, max(decimals_of(end), decimals_of(difference)), "+") for end in interval)


def said_error(stderr: float | None) -> str:
    """A standard error: a difference of equal masks may be known to more digits than four."""
    if stderr is None:
        return "n/a"
    return "0" if stderr == 0.0 else f"{stderr:.4f}" if stderr >= 5e-5 else f"{stderr:.1g}"


def _said(number: float, decimals: int, sign: str) -> str:
    if 0.0 < abs(number) < 10.0 ** (1 - _MAX_DECIMALS):
        return f"{number:{sign}.1e}"
    return f"{number:{sign}.{decimals}f}"
