"""Schedules: their shape, their derivative, their inverse, their names."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.errors import UsageError
from bpb_harness.schedule import (
    SCHEDULES,
    CosineMd4,
    CosineMdlm,
    Geometric,
    LogLinear,
    NoiseSchedule,
    Polynomial,
    parse_schedule,
)

EVERY_KIND = [
    LogLinear(),
    LogLinear(0.001),
    CosineMdlm(),
    CosineMdlm(0.001),
    CosineMd4(),
    CosineMd4(1e-4),
    Polynomial(2.0),
    Polynomial(0.5),
    Polynomial(3.0, 1e-4),
    Geometric(1e-3, 10.0),
]


def plain_alpha(schedule: NoiseSchedule, t: float) -> float:
    """The textbook formulas of alpha, written a second time."""
    match schedule:
        case LogLinear(eps):
            return 1 - (1 - eps) * t
        case CosineMdlm(eps):
            return eps + (1 - eps) * math.cos(math.pi * t / 2)
        case CosineMd4(eps):
            return (1 - 2 * eps) * (1 - math.cos(math.pi / 2 * (1 - t))) + eps
        case Polynomial(power, eps):
            return (1 - 2 * eps) * (1 - t**power) + eps
        case Geometric(low, high):
            return math.exp(-(low ** (1 - t)) * high**t)
    raise AssertionError(schedule)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_no_kind_is_left_out():
    assert {type(schedule) for schedule in EVERY_KIND} == set(SCHEDULES.values())
    assert {"loglinear", "cosine-mdlm", "cosine-md4", "polynomial", "geometric"} <= set(SCHEDULES)


@pytest.mark.parametrize("schedule", EVERY_KIND, ids=str)
class TestEverySchedule:
    def test_alpha_is_the_textbook_formula(self, schedule):
        for t in (0.0, 1e-6, 0.1, 0.37, 0.5, 0.9, 1.0):
            assert float(schedule.alpha(tensor(t))) == pytest.approx(plain_alpha(schedule, t), abs=1e-14)

    def test_dalpha_is_the_derivative_of_alpha(self, schedule):
        t = torch.linspace(0.01, 0.99, 37, dtype=torch.float64)
        step = 1e-6
        slope = (schedule.alpha(t + step) - schedule.alpha(t - step)) / (2 * step)
        torch.testing.assert_close(schedule.dalpha(t), slope, rtol=1e-7, atol=1e-8)

    def test_dalpha_is_the_derivative_by_autograd(self, schedule):
        t = torch.linspace(0.02, 0.98, 25, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
        torch.testing.assert_close(schedule.dalpha(t.detach()), slope, rtol=1e-12, atol=1e-12)

    def test_time_is_the_inverse_of_mask_rate(self, schedule):
        t = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
        torch.testing.assert_close(schedule.time(schedule.mask_rate(t)), t, rtol=1e-9, atol=1e-9)

    def test_a_level_made_from_its_mask_rate_is_the_level_at_that_time(self, schedule):
        t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
        by_time, by_rate = schedule.level(t), schedule.level_at(schedule.mask_rate(t))
        for field in ("t", "alpha_t", "dalpha_t", "mask_rate", "sigma", "loss_weight"):
            torch.testing.assert_close(getattr(by_rate, field), getattr(by_time, field), rtol=1e-7, atol=1e-9)

    def test_the_grid_grows_from_u_0_to_u_max(self, schedule):
        grid = schedule.grid(17)
        assert len(grid) == 18
        assert bool((torch.diff(grid) > 0).all())
        assert float(grid[0]) == pytest.approx(schedule.min_mask_rate)
        assert float(grid[-1]) == schedule.max_mask_rate

    def test_the_name_reads_back_as_the_same_schedule(self, schedule):
        assert parse_schedule(str(schedule)) == schedule


def test_loss_weight_is_one_over_t_for_the_linear_schedule():
    level = LogLinear(0.001).level(tensor(0.1, 0.5, 1.0))
    torch.testing.assert_close(level.loss_weight, tensor(10.0, 2.0, 1.0))


def test_loss_weight_is_dsigma_over_expm1_sigma():
    schedule = CosineMdlm(0.001)
    t = torch.linspace(0.05, 0.95, 11, dtype=torch.float64, requires_grad=True)
    level = schedule.level(t)
    (dsigma,) = torch.autograd.grad(level.sigma.sum(), t)
    torch.testing.assert_close((dsigma / torch.expm1(level.sigma)).detach(), level.loss_weight.detach())


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("loglinear", "loglinear"),
        ("linear[0.001]", "loglinear[0.001]"),
        (" LogLinear[1e-3] ", "loglinear[0.001]"),
        ("polynomial[3]", "polynomial[3]"),
        ("cosine-md4", "cosine-md4"),
        ("cosine-mdlm[0.001]", "cosine-mdlm[0.001]"),
    ],
)
def test_names(name, written):
    assert str(parse_schedule(name)) == written


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cosine", "two schedules"),
        ("cosine[0.1]", "two schedules"),
        ("triangular", "one of"),
        ("loglinear[0.1,0.2]", "at most"),
        ("loglinear[abc]", "numbers"),
        ("loglinear[1]", "eps"),
        ("loglinear[-0.1]", "eps"),
        ("loglinear[nan]", "eps"),
        ("cosine-md4[0.5]", "eps"),
        ("polynomial[0]", "power"),
        ("geometric[2,1]", "sigma"),
        ("loglinear[", "NAME"),
        ("", "NAME"),
    ],
)
def test_bad_names_are_refused(name, part):
    with pytest.raises(UsageError, match=part):
        parse_schedule(name)


def test_a_grid_of_no_steps_is_refused():
    with pytest.raises(UsageError, match="1 or more"):
        LogLinear().grid(0)


@given(st.sampled_from(["loglinear", "cosine-mdlm", "cosine-md4"]), st.floats(0.0, 0.4))
def test_any_eps_reads_back(name, eps):
    schedule = SCHEDULES[name](eps)
    assert parse_schedule(str(schedule)) == schedule


def test_a_level_moves_and_slices_as_one():
    level = LogLinear().level(tensor(0.1, 0.2, 0.3))
    part = level[1:]
    assert len(part) == 2
    assert part.to("cpu").t.tolist() == [0.2, 0.3]
    assert part.alpha_t.tolist() == [0.8, 0.7]
