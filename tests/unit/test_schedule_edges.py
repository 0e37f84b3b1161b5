"""Schedules at the ends of their range, on narrow types and other devices, and the limits of their parameters."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from bpb_harness.errors import UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.estimators.nelbo import nelbo
from bpb_harness.schedule import (
    SCHEDULES,
    CosineMd4,
    CosineMdlm,
    Geometric,
    LogLinear,
    NoiseSchedule,
    Polynomial,
    parse_schedule,
    sound,
    stated_schedule,
)
from bpb_harness.testing import check_elbo

EVERY_KIND = [LogLinear(0.001), CosineMdlm(0.001), CosineMd4(1e-4), Polynomial(3.0, 1e-4), Geometric(1e-3, 10.0)]
every_kind = pytest.mark.parametrize("schedule", EVERY_KIND, ids=str)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_no_kind_is_left_out():
    assert {type(schedule) for schedule in EVERY_KIND} == set(SCHEDULES.values())


@pytest.mark.parametrize("schedule", EVERY_KIND[1:], ids=str)
def test_rates_that_rounding_put_outside_have_the_time_of_the_end(schedule):
    low, high = schedule.min_mask_rate, schedule.max_mask_rate
    time = schedule.time(tensor(low - 1e-9, low, high, high + 1e-9))
    assert time[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert time[2:].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    assert bool(((time >= 0.0) & (time <= 1.0 + 1e-12)).all())


@pytest.mark.parametrize("schedule", [CosineMdlm(), CosineMd4(), Polynomial(0.5)], ids=str)
def test_a_rate_above_one_by_rounding_is_the_end_too(schedule):
    assert schedule.time(tensor(-1e-15, 1.0, 1.0 + 1e-15)).tolist() == pytest.approx([0.0, 1.0, 1.0], abs=1e-7)


@every_kind
def test_everything_is_float64_whatever_comes_in(schedule):
    t = torch.tensor([0.1, 0.7])  # float32
    for values in (schedule.mask_rate(t), schedule.dmask_rate(t), schedule.alpha(t), schedule.dalpha(t)):
        assert values.dtype == torch.float64
    assert schedule.time(torch.tensor([0.3])).dtype == torch.float64
    for level in (schedule.level(t), schedule.level_at(t)):
        assert {level.t.dtype, level.alpha_t.dtype, level.dalpha_t.dtype} == {torch.float64}
        assert {level.mask_rate.dtype, level.sigma.dtype, level.loss_weight.dtype} == {torch.float64}
    torch.testing.assert_close(schedule.level(t).alpha_t, schedule.alpha(t.double()), rtol=0.0, atol=0.0)
    torch.testing.assert_close(schedule.level_at(t).alpha_t, 1.0 - t.double(), rtol=0.0, atol=0.0)
    assert schedule.level(torch.tensor([1])).t.tolist() == [1.0]


@every_kind
def test_a_grid_of_one_step_is_both_ends(schedule):
    grid = schedule.grid(1)
    assert grid.dtype == torch.float64
    assert grid.tolist() == [schedule.min_mask_rate, schedule.max_mask_rate]


def test_grid_points_are_exact_fractions():
    assert LogLinear().grid(3).tolist() == [0.0, 1 / 3, 2 / 3, 1.0]
    assert LogLinear().grid(7).dtype == torch.float64


def test_a_level_moves_to_another_device_with_all_its_parts():
    level = LogLinear().level(tensor(0.1, 0.2))
    moved = level.to("meta")
    assert {moved.t.device.type, moved.alpha_t.device.type, moved.dalpha_t.device.type} == {"meta"}
    assert level.to(torch.device("cpu")).dalpha_t.tolist() == [-1.0, -1.0]


def test_a_level_is_indexed_by_rows():
    level = CosineMd4().level(tensor(0.1, 0.2, 0.3))
    picked = level[torch.tensor([2, 0])]
    for name in ("t", "alpha_t", "dalpha_t"):
        assert getattr(picked, name).tolist() == getattr(level, name)[[2, 0]].tolist()


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("loglinear[0]", LogLinear(0.0)),
        ("loglinear[0.999]", LogLinear(0.999)),
        ("cosine-mdlm[0]", CosineMdlm(0.0)),
        ("cosine-mdlm[0.999]", CosineMdlm(0.999)),
        ("cosine-md4[0]", CosineMd4(0.0)),
        ("cosine-md4[0.499]", CosineMd4(0.499)),
        ("polynomial", Polynomial(2.0, 0.0)),
        ("polynomial[99.9]", Polynomial(99.9)),
        ("polynomial[0.5,0]", Polynomial(0.5)),
        ("polynomial[1e-3,0.499]", Polynomial(1e-3, 0.499)),
        ("geometric", Geometric(1e-3, 10.0)),
        ("geometric[1e-300,699.9]", Geometric(1e-300, 699.9)),
        (" GEOMETRIC [ 1 , 2 ] ", Geometric(1.0, 2.0)),
        ("LINEAR", LogLinear()),
        ("loglinear[]", LogLinear()),
    ],
)
def test_parameters_up_to_their_limits(name, schedule):
    assert parse_schedule(name) == schedule
    assert parse_schedule(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (Polynomial(2.0), "polynomial[2]"),
        (Polynomial(2.5, 0.25), "polynomial[2.5,0.25]"),
        (Polynomial(3.0, 1e-4), "polynomial[3,0.0001]"),
        (Geometric(1e-20, 0.5), "geometric[1e-20,0.5]"),
        (Geometric(1.0, 2.0), "geometric[1,2]"),
        (LogLinear(1e-9), "loglinear[1e-09]"),
    ],
)
def test_names_hold_the_shortest_numbers(schedule, name):
    assert str(schedule) == name


@dataclass(frozen=True)
class Straight(NoiseSchedule):
    """A schedule of somebody's own: a straight line between any two rates."""

    name: ClassVar[str] = "straight"
    first: float
    last: float

    def mask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return self.first * (1.0 - t.double()) + self.last * t.double()

    def dmask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return torch.full_like(t, self.last - self.first, dtype=torch.float64)

    def time(self, mask_rate: torch.Tensor) -> torch.Tensor:
        return (mask_rate.double() - self.first) / (self.last - self.first)


class Squared(Straight):
    """Grows in its own way, and says so."""

    def mask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return super().mask_rate(t) ** 2

    def time(self, mask_rate: torch.Tensor) -> torch.Tensor:
        return super().time(mask_rate.double().sqrt())


class Unturned(Squared):
    def time(self, mask_rate: torch.Tensor) -> torch.Tensor:
        return mask_rate.double()


class Wave(Straight):
    def mask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return 0.5 - 0.5 * torch.cos(9.0 * t.double())


class Held(Straight):
    """Reaches its end before the end, in narrow numbers."""

    def mask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return super().mask_rate(t.float()).clamp(max=0.75)


@pytest.mark.parametrize("schedule", [Straight(0.0, 1.0), Straight(0.1, 0.2), Squared(0.0, 1.0), Held(0.0, 1.0)])
def test_a_schedule_of_ones_own_is_taken_where_it_grows_and_its_time_is_its_inverse(schedule):
    assert sound(schedule) is schedule


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Straight(1.0, 0.0), "schedule straight[1,0]: got a mask rate of 1 at t = 0 and 0.9961 at t = 0.003906, "
         "expected one that grows with t, from clean to masked; mask_rate is 1 - alpha, not alpha"),
        (Straight(0.5, 0.5), "got a mask rate of 0.5 at t = 0 and 0.5 at t = 1, expected one that grows"),
        (Wave(0.0, 1.0), "got a mask rate of 1 at t = 0.3477 and 0.9999 at t = 0.3516, expected one that grows"),
        (Unturned(0.0, 1.0), "schedule straight[0,1]: time is not the inverse of mask_rate: got "
         "mask_rate(time(0.4999)) = 0.2499, expected 0.4999; a network that is told the noise would be told another"),
    ],
)  # fmt: skip
def test_one_that_falls_or_has_another_inverse_is_none(schedule, message):
    network = SimpleNamespace(
        vocab_size=3, mask_token_id=3, context_length=2, time_conditioned=False, schedule=schedule,
        logits=lambda xt, level: torch.zeros(*xt.shape, 4),
    )  # fmt: skip
    x0 = torch.zeros(1, 2, dtype=torch.int64)
    for ask in (
        lambda: sound(schedule),
        lambda: stated_schedule(network),
        lambda: nelbo(network, x0),
        lambda: nelbo(network, x0, schedule=schedule),
        lambda: check_elbo(lambda *_: None, schedule=schedule),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            ask()


ABOVE_ONE = math.nextafter(1.0, 2.0)
NAN = float("nan")


@pytest.mark.parametrize("ask", [lambda s: s.max_mask_rate, lambda s: s.level(tensor(0.5, 1.0)), lambda s: s.grid(4)])
@pytest.mark.parametrize(("last", "seen"), [(ABOVE_ONE, "1.0000000000000002"), (1.25, "1.25")])
def test_a_mask_rate_above_one_is_refused_by_name(ask, last, seen):
    with pytest.raises(UsageError) as refused:
        ask(Straight(0.0, last))
    assert str(refused.value) == (
        f"mask rate of schedule straight[0,{seen}]: got {seen}, expected a number within [0, 1]; "
        "end the schedule's mask_rate with .clamp(max=1.0)"
    )


@pytest.mark.parametrize("ask", [lambda s: s.min_mask_rate, lambda s: s.level(tensor(0.0, 0.5)), lambda s: s.grid(4)])
def test_a_mask_rate_below_zero_is_refused_by_name(ask):
    with pytest.raises(UsageError, match=r"schedule straight\[-1e-17,1\]: got -1e-17, .*clamp\(min=0\.0\)"):
        ask(Straight(-1e-17, 1.0))


class Hole(Straight):
    def mask_rate(self, t: torch.Tensor) -> torch.Tensor:
        return torch.where(t == 0.5, torch.nan, super().mask_rate(t))


@pytest.mark.parametrize("ask", [lambda s: s.level(tensor(0.0, 0.5, 1.0)), lambda s: s.grid(4)])
def test_a_mask_rate_that_is_no_number_is_refused_by_name(ask):
    message = r"schedule straight\[0,1\]: got nan, expected a number within \[0, 1\]; correct its mask_rate"
    with pytest.raises(UsageError, match=message):
        ask(Hole(0.0, 1.0))


@pytest.mark.parametrize("rate", [ABOVE_ONE, -1e-300, NAN])
def test_a_level_at_no_mask_rate_is_refused(rate):
    message = rf"mask rate given to schedule loglinear: got {rate}, expected a number within \[0, 1\]"
    with pytest.raises(UsageError, match=message):
        LogLinear().level_at(tensor(0.5, rate))


def test_times_outside_are_not_said_to_be_the_schedules_fault():
    with pytest.raises(UsageError, match=r"time given to schedule loglinear: got 1\.5, expected .* \[0, 1\]"):
        LogLinear().level(tensor(0.5, 1.5))


def test_no_estimator_is_made_of_a_rate_above_one():
    with pytest.raises(UsageError, match="mask rate of schedule straight"):
        ContinuousBound(Straight(0.0, ABOVE_ONE), 1).mask_rate(tensor(1.0))


@pytest.mark.parametrize("eps", [0.0, 1e-17, 1e-9, 1e-3, 0.1, 1 / 3, 0.49])
@pytest.mark.parametrize("kind", [LogLinear, CosineMdlm, CosineMd4])
def test_registered_rates_stay_within_zero_and_one(kind, eps):
    stays_within(kind(eps))


@pytest.mark.parametrize("eps", [0.0, 1e-17, 1e-4, 0.3, 0.49])
@pytest.mark.parametrize("power", [1e-3, 0.5, 1.0, 2.7, 99.9])
def test_polynomial_rates_stay_within_zero_and_one(power, eps):
    stays_within(Polynomial(power, eps))


@pytest.mark.parametrize("ends", [(1e-300, 1e-17), (1e-3, 10.0), (1.0, 40.0), (1e-300, 699.9)])
def test_geometric_rates_stay_within_zero_and_one(ends):
    stays_within(Geometric(*ends))


def stays_within(schedule: NoiseSchedule) -> None:
    t = torch.linspace(0.0, 1.0, 1025, dtype=torch.float64)
    for u in (schedule.mask_rate(t), schedule.grid(7), tensor(schedule.min_mask_rate, schedule.max_mask_rate)):
        assert 0.0 <= float(u.min()) <= float(u.max()) <= 1.0
    for level in (schedule.level(t), schedule.level_at(schedule.mask_rate(t))):
        assert bool((level.sigma >= 0.0).all())  # NaN is not
