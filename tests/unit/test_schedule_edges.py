"""Schedules at the ends of their range, on narrow types and other devices, and the limits of their parameters."""

from __future__ import annotations

import pytest
import torch

from bpb_harness.schedule import SCHEDULES, CosineMd4, CosineMdlm, Geometric, LogLinear, Polynomial, parse_schedule

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
