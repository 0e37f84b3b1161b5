"""Noise schedules: how much of a window is masked at time t, and what a network is told about it.

A schedule is a strictly increasing mask rate u(t) = 1 - alpha_t on [0, 1]; a token is masked at time t with
probability u(t), independently of the others. Everything that depends on the noise (masks, loss weights, the network's
conditioning) reads one :class:`NoiseLevel`: the commonest public bug is two of them disagreeing.

Names of schedules are strings such as ``loglinear[0.001]``; :func:`parse_schedule` and ``str`` are inverse.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from bpb_harness.errors import UsageError


@final
@dataclass(frozen=True)
class NoiseLevel:
    """The noise of each row of a batch.

    Attributes:
        t: time, (B,) float64, 0 clean to 1 noisiest.
        alpha_t: probability that a token is still visible, (B,) float64.
        dalpha_t: derivative of alpha with respect to t, (B,) float64, at most 0.
    """

    t: Tensor
    alpha_t: Tensor
    dalpha_t: Tensor

    @property
    def mask_rate(self) -> Tensor:
        """Mask rate u = 1 - alpha_t, (B,) float64."""
        return 1.0 - self.alpha_t

    @property
    def sigma(self) -> Tensor:
        """Total noise -log(alpha_t), (B,) float64; what MDLM's networks are conditioned on."""
        return -torch.log(self.alpha_t)

    @property
    def loss_weight(self) -> Tensor:
        """Weight -dalpha_t / (1 - alpha_t) of the *sum* of masked cross-entropies in the continuous bound, (B,).

        Source: MDLM (Sahoo et al. 2024, arXiv 2406.07524), equation 10; MATHS.md equation (3).
        """
        return -self.dalpha_t / self.mask_rate

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Its tensors, in the order in which they make one."""
        return self.t, self.alpha_t, self.dalpha_t

    def each(self, change: Callable[[Tensor], Tensor]) -> NoiseLevel:
        """The level with the same done to each of its tensors."""
        return NoiseLevel(change(self.t), change(self.alpha_t), change(self.dalpha_t))

    def to(self, device: torch.device | str) -> NoiseLevel:
        """The same level on another device."""
        return self.each(lambda part: part.to(device))

    def flatten(self) -> NoiseLevel:
        """Levels of blocks, (B, K), as a network takes them: row by row, (B K,)."""
        return self.each(torch.flatten)

    def __getitem__(self, index: slice | Tensor | tuple[slice, slice | int]) -> NoiseLevel:
        return self.each(lambda part: part[index])

    def __len__(self) -> int:
        return len(self.t)


class NoiseSchedule(ABC):
    """A strictly increasing mask rate u(t) on [0, 1].

    Subclasses are frozen dataclasses of floats; their fields are the bracketed parameters of the name. A rate that
    rounding has put above 1 is no rate, and its sigma is NaN: what reads one here raises UsageError.
    """

    name: ClassVar[str]

    @abstractmethod
    def mask_rate(self, t: Tensor) -> Tensor:
        """u(t) = 1 - alpha(t), elementwise, in float64; within [0, 1] after rounding too."""

    @abstractmethod
    def dmask_rate(self, t: Tensor) -> Tensor:
        """Derivative of u with respect to t, elementwise, in float64."""

    @abstractmethod
    def time(self, mask_rate: Tensor) -> Tensor:
        """Inverse of :meth:`mask_rate`, elementwise, in float64; rates outside by rounding have the time of an end."""

    def alpha(self, t: Tensor) -> Tensor:
        """Probability that a token is still visible at time t."""
        return 1.0 - self.mask_rate(t)

    def dalpha(self, t: Tensor) -> Tensor:
        """Derivative of alpha with respect to t; negative."""
        return -self.dmask_rate(t)

    @cached_property
    def min_mask_rate(self) -> float:
        """u_0 = 1 - alpha(0). Where it is above 0 the bound has a reconstruction term."""
        return float(self._rates(torch.zeros((), dtype=torch.float64)))

    @cached_property
    def max_mask_rate(self) -> float:
        """u_max = 1 - alpha(1). Where it is below 1 the bound has a prior term."""
        return float(self._rates(torch.ones((), dtype=torch.float64)))

    def level(self, t: Tensor) -> NoiseLevel:
        """The noise level at times t, (B,).

        Raises:
            UsageError: for a time or a mask rate outside [0, 1], where they are on the CPU.
        """
        t = t.to(torch.float64)
        _require_unit(t, "time given to schedule", self, "give times within [0, 1]")
        if t.is_cpu:
            self._rates(t)
        return NoiseLevel(t, self.alpha(t), self.dalpha(t))

    def level_at(self, mask_rate: Tensor) -> NoiseLevel:
        """The noise level at mask rates u, (B,); 1 - alpha_t is u to rounding.

        Raises:
            UsageError: for a mask rate outside [0, 1], where they are on the CPU.
        """
        u = mask_rate.to(torch.float64)
        _require_unit(u, "mask rate given to schedule", self, "give rates within [0, 1]")
        t = self.time(u)
        return NoiseLevel(t, 1.0 - u, self.dalpha(t))

    def grid(self, num_steps: int) -> Tensor:
        """Mask rates u_0 < ... < u_T of the T-step model, at times i / T; (T + 1,) float64.

        Raises:
            UsageError: if ``num_steps`` is below 1; for a mask rate outside [0, 1].
        """
        if num_steps < 1:
            raise UsageError("number of steps T", seen=num_steps, expected="1 or more", hint="pass --steps 128")
        return self._rates(torch.arange(num_steps + 1, dtype=torch.float64) / num_steps)

    def _rates(self, t: Tensor) -> Tensor:
        """:meth:`mask_rate`, refused where it is outside [0, 1]."""
        u = self.mask_rate(t)
        _require_unit(u, "mask rate of schedule", self)
        return u

    def __str__(self) -> str:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        defaults = [field.default for field in fields(self)]  # type: ignore[arg-type]
        while values and values[-1] == defaults[-1] == 0.0:  # an eps of 0 goes without saying
            values.pop()
            defaults.pop()
        return self.name + (f"[{','.join(_shortest(value) for value in values)}]" if values else "")


@final
@dataclass(frozen=True)
class LogLinear(NoiseSchedule):
    """alpha = 1 - (1 - eps) t: the mask rate grows linearly. MDLM calls it loglinear, MD4 linear."""

    name: ClassVar[str] = "loglinear"
    eps: float = 0.0

    def __post_init__(self) -> None:
        _require("eps", self.eps, 0.0 <= self.eps < 1.0, "0 <= eps < 1")

    def mask_rate(self, t: Tensor) -> Tensor:
        return (1.0 - self.eps) * t.double()

    def dmask_rate(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1.0 - self.eps, dtype=torch.float64)

    def time(self, mask_rate: Tensor) -> Tensor:
        return mask_rate.double() / (1.0 - self.eps)


@final
@dataclass(frozen=True)
class CosineMdlm(NoiseSchedule):
    """alpha = eps + (1 - eps) cos(pi t / 2): the cosine schedule of the MDLM code."""

    name: ClassVar[str] = "cosine-mdlm"
    eps: float = 0.0

    def __post_init__(self) -> None:
        _require("eps", self.eps, 0.0 <= self.eps < 1.0, "0 <= eps < 1")

    def mask_rate(self, t: Tensor) -> Tensor:
        # 1 - cos(x) = 2 sin^2(x / 2) keeps full precision near t = 0.
        return (1.0 - self.eps) * 2.0 * torch.sin(math.pi / 4.0 * t.double()) ** 2

    def dmask_rate(self, t: Tensor) -> Tensor:
        return (1.0 - self.eps) * (math.pi / 2.0) * torch.sin(math.pi / 2.0 * t.double())

    def time(self, mask_rate: Tensor) -> Tensor:
        half_square = mask_rate.double() / (2.0 * (1.0 - self.eps))
        return torch.asin(torch.sqrt(half_square.clamp(0.0, 0.5))) * (4.0 / math.pi)


@final
@dataclass(frozen=True)
class CosineMd4(NoiseSchedule):
    """alpha = eps + (1 - 2 eps) (1 - cos(pi (1 - t) / 2)): MD4's cosine schedule.

    Source: MD4 (Shi et al. 2024, arXiv 2406.04329), table of schedules; its code squeezes alpha into [eps, 1 - eps],
    which leaves alpha(0) below 1 and adds a reconstruction term to the bound.
    """

    name: ClassVar[str] = "cosine-md4"
    eps: float = 0.0

    def __post_init__(self) -> None:
        _require("eps", self.eps, 0.0 <= self.eps < 0.5, "0 <= eps < 0.5")

    def mask_rate(self, t: Tensor) -> Tensor:
        return self.eps + (1.0 - 2.0 * self.eps) * torch.sin(math.pi / 2.0 * t.double())

    def dmask_rate(self, t: Tensor) -> Tensor:
        return (1.0 - 2.0 * self.eps) * (math.pi / 2.0) * torch.cos(math.pi / 2.0 * t.double())

    def time(self, mask_rate: Tensor) -> Tensor:
        sine = (mask_rate.double() - self.eps) / (1.0 - 2.0 * self.eps)
        return torch.asin(sine.clamp(0.0, 1.0)) * (2.0 / math.pi)


@final
@dataclass(frozen=True)
class Polynomial(NoiseSchedule):
    """alpha = eps + (1 - 2 eps) (1 - t^power): MD4's polynomial schedules (power 1 is loglinear)."""

    name: ClassVar[str] = "polynomial"
    power: float = 2.0
    eps: float = 0.0

    def __post_init__(self) -> None:
        _require("power", self.power, 0.0 < self.power < 100.0, "0 < power < 100")
        _require("eps", self.eps, 0.0 <= self.eps < 0.5, "0 <= eps < 0.5")

    def mask_rate(self, t: Tensor) -> Tensor:
        return self.eps + (1.0 - 2.0 * self.eps) * t.double() ** self.power

    def dmask_rate(self, t: Tensor) -> Tensor:
        return (1.0 - 2.0 * self.eps) * self.power * t.double() ** (self.power - 1.0)

    def time(self, mask_rate: Tensor) -> Tensor:
        power_of_t = (mask_rate.double() - self.eps) / (1.0 - 2.0 * self.eps)
        return power_of_t.clamp(0.0, 1.0) ** (1.0 / self.power)


@final
@dataclass(frozen=True)
class Geometric(NoiseSchedule):
    """alpha = exp(-sigma), sigma = sigma_min^(1 - t) sigma_max^t: the geometric schedule of SEDD and MDLM."""

    name: ClassVar[str] = "geometric"
    sigma_min: float = 1e-3
    sigma_max: float = 10.0

    def __post_init__(self) -> None:
        right = 0.0 < self.sigma_min < self.sigma_max < 700.0
        _require("sigma range", (self.sigma_min, self.sigma_max), right, "0 < sigma_min < sigma_max < 700")

    def _sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t.double() * math.log(self.sigma_max / self.sigma_min))

    def mask_rate(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self._sigma(t))

    def dmask_rate(self, t: Tensor) -> Tensor:
        sigma = self._sigma(t)
        return torch.exp(-sigma) * sigma * math.log(self.sigma_max / self.sigma_min)

    def time(self, mask_rate: Tensor) -> Tensor:
        sigma = -torch.log1p(-mask_rate.double())
        return (torch.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)).clamp(0.0, 1.0)


SCHEDULES: dict[str, type[NoiseSchedule]] = {
    kind.name: kind for kind in (LogLinear, CosineMdlm, CosineMd4, Polynomial, Geometric)
}

_ALIASES = {"linear": "loglinear"}
# Of a schedule of the user's own: how many times are looked at, and how far rates may be off.
_NUM_LOOKED_AT, _ROUNDING, _INVERSE = 257, 1e-6, 1e-3


def stated_schedule(network: object) -> NoiseSchedule | None:
    """What a network says of itself: its attribute ``schedule``, a name or a schedule; None for none, or anything else.

    Raises:
        UsageError: for a name of no schedule, or a schedule that is none.
    """
    stated = getattr(network, "schedule", None)
    if isinstance(stated, NoiseSchedule):
        return sound(stated)
    return parse_schedule(stated) if isinstance(stated, str) else None


def sound(schedule: NoiseSchedule) -> NoiseSchedule:
    """A schedule, looked at if it is none of ours: bounds rest on a mask rate that grows, and on its inverse.

    Raises:
        UsageError: for a mask rate that falls, that grows nowhere, or whose ``time`` is not its inverse.
    """
    if type(schedule) in SCHEDULES.values():
        return schedule
    t = torch.linspace(0.0, 1.0, _NUM_LOOKED_AT, dtype=torch.float64)
    u = schedule.level(t).mask_rate.double()
    falls = (u.diff() < -_ROUNDING).nonzero().flatten().tolist()
    if falls or float(u[-1] - u[0]) <= _ROUNDING:
        place = falls[0] if falls else 0
        ends = (place, place + 1) if falls else (0, -1)
        before, after = (f"{float(u[end]):.4g} at t = {float(t[end]):.4g}" for end in ends)
        raise UsageError(
            f"schedule {schedule}", seen=f"a mask rate of {before} and {after}",
            expected="one that grows with t, from clean to masked", hint="mask_rate is 1 - alpha, not alpha",
        )  # fmt: skip
    again = schedule.mask_rate(schedule.time(u).double().clamp(0.0, 1.0)).double()
    away = (again - u).abs().nan_to_num(nan=math.inf)
    worst = int(away.argmax())
    if float(away[worst]) > _INVERSE:
        rate = f"{float(u[worst]):.4g}"
        raise UsageError(
            f"schedule {schedule}: time is not the inverse of mask_rate",
            seen=f"mask_rate(time({rate})) = {float(again[worst]):.4g}", expected=rate,
            hint="a network that is told the noise would be told another",
        )  # fmt: skip
    return schedule


def parse_schedule(text: str) -> NoiseSchedule:
    """Read a schedule's name, ``NAME`` or ``NAME[parameter,...]``; the inverse of ``str``.

    Raises:
        UsageError: for an unknown name, a parameter that is no number or out of range. "cosine" alone is refused:
            two schedules carry that name in public code.
    """
    match = re.fullmatch(r"\s*([a-z0-9-]+)\s*(?:\[([^\[\]]*)\])?\s*", text.lower())
    known = ", ".join(SCHEDULES)
    if match is None:
        raise UsageError("schedule", seen=repr(text), expected="NAME or NAME[eps]", hint=f"NAME is one of {known}")
    name, inside = match.groups()
    if name == "cosine":
        raise UsageError("schedule 'cosine' names two schedules", hint="say cosine-mdlm[eps] or cosine-md4[eps]")
    kind = SCHEDULES.get(_ALIASES.get(name, name))
    if kind is None:
        raise UsageError("schedule", seen=repr(name), expected=f"one of {known}")
    try:
        parameters = [float(part) for part in inside.split(",")] if inside else []
    except ValueError:
        raise UsageError(f"schedule {name}", seen=f"[{inside}]", expected="numbers between the brackets") from None
    if len(parameters) > len(fields(kind)):  # type: ignore[arg-type]
        names = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
        raise UsageError(f"schedule {name}", seen=f"{len(parameters)} parameters", expected=f"at most {names}")
    return kind(*parameters)


def _shortest(value: float) -> str:
    """The shortest text that reads back as the same float."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _require_unit(values: Tensor, what: str, schedule: NoiseSchedule, hint: str | None = None) -> None:
    """Refuse a number outside [0, 1], or none. On the CPU alone: elsewhere to look is to wait for the device."""
    if not values.is_cpu or values.numel() == 0:
        return
    low, high = (float(end) for end in torch.aminmax(values.detach()))  # both NaN where one is
    if low >= 0.0 and high <= 1.0:
        return
    seen, clamp = (high, "max=1.0") if high > 1.0 else (low, "min=0.0")
    correct = "correct its mask_rate" if math.isnan(seen) else f"end the schedule's mask_rate with .clamp({clamp})"
    raise UsageError(f"{what} {schedule}", seen=seen, expected="a number within [0, 1]", hint=hint or correct)


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise UsageError(f"schedule parameter {name}", seen=value, expected=expected)
