"""The noise schedules once more, from their published formulas, as functions of floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """alpha(t) and its derivative.

    Attributes:
        name: the name that the product gives it, such as ``loglinear[0.001]``.
        alpha: probability that a token is still visible at time t.
        dalpha: its derivative.
    """

    name: str
    alpha: Callable[[float], float]
    dalpha: Callable[[float], float]

    def mask_rate(self, t: float) -> float:
        return 1.0 - self.alpha(t)

    @property
    def u_min(self) -> float:
        return 1.0 - self.alpha(0.0)

    @property
    def u_max(self) -> float:
        return 1.0 - self.alpha(1.0)

    def time(self, u: float) -> float:
        """t with 1 - alpha(t) = u, by bisection."""
        low, high = 0.0, 1.0
        before = None
        while (low, high) != before:  # until no number lies between them
            before, middle = (low, high), (low + high) / 2
            low, high = (middle, high) if self.mask_rate(middle) < u else (low, middle)
        return (low + high) / 2


def schedule(name: str, *parameters: float) -> Schedule:
    """A schedule by the product's name and parameters, e.g. ``schedule("cosine-md4", 1e-4)``."""
    alpha, dalpha = _KINDS[name](*parameters)
    inside = ",".join(repr(int(p)) if p == int(p) else repr(p) for p in parameters)
    return Schedule(f"{name}[{inside}]" if parameters else name, alpha, dalpha)


def _loglinear(eps: float = 0.0):
    return (lambda t: 1 - (1 - eps) * t), (lambda t: -(1 - eps))


def _cosine_mdlm(eps: float = 0.0):
    half_pi = math.pi / 2
    return (
        lambda t: eps + (1 - eps) * math.cos(half_pi * t),
        lambda t: -(1 - eps) * half_pi * math.sin(half_pi * t),
    )


def _cosine_md4(eps: float = 0.0):
    half_pi = math.pi / 2
    return (
        lambda t: eps + (1 - 2 * eps) * (1 - math.cos(half_pi * (1 - t))),
        lambda t: -(1 - 2 * eps) * half_pi * math.sin(half_pi * (1 - t)),
    )


def _polynomial(power: float = 2.0, eps: float = 0.0):
    return (
        lambda t: eps + (1 - 2 * eps) * (1 - t**power),
        lambda t: -(1 - 2 * eps) * power * (t ** (power - 1) if t > 0 or power >= 1 else math.inf),
    )


def _geometric(low: float = 1e-3, high: float = 10.0):
    def sigma(t):
        return low ** (1 - t) * high**t

    return (
        lambda t: math.exp(-sigma(t)),
        lambda t: -math.exp(-sigma(t)) * sigma(t) * (math.log(high) - math.log(low)),
    )


_KINDS = {
    "loglinear": _loglinear,
    "cosine-mdlm": _cosine_mdlm,
    "cosine-md4": _cosine_md4,
    "polynomial": _polynomial,
    "geometric": _geometric,
}
