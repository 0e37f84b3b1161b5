"""The oracles themselves: they agree with each other where theory says that they must, and with the product."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.estimators import ExactBound
from bpb_harness.schedule import SCHEDULES as KINDS
from bpb_harness.schedule import parse_schedule
from tests.oracles import (
    ContextFree,
    Markov,
    MarkovCausalLM,
    OracleDenoiser,
    Table,
    Uniform,
    chain_nats,
    continuous_bound,
    mean_masked_nll,
    mean_over_orders,
    schedule,
    t_step_bound,
    t_step_nll,
)
from tests.tiers import some_of

SCHEDULES = [
    schedule("loglinear"),
    schedule("loglinear", 0.001),
    schedule("cosine-mdlm"),
    schedule("cosine-mdlm", 0.01),
    schedule("cosine-md4"),
    schedule("cosine-md4", 0.0001),
    schedule("polynomial", 2.0),
    schedule("polynomial", 0.5, 0.001),
    schedule("geometric", 0.001, 10.0),
]
FULL = [s for s in SCHEDULES if s.u_max == pytest.approx(1.0, abs=1e-12) and s.u_min == 0.0]


def test_every_schedule_of_the_product_has_a_second_implementation() -> None:
    assert {parse_schedule(s.name).name for s in SCHEDULES} == set(KINDS)


@pytest.mark.parametrize("s", SCHEDULES, ids=lambda s: s.name)
def test_both_implementations_of_a_schedule_agree(s) -> None:
    product = parse_schedule(s.name)
    t = torch.linspace(1e-6, 1.0, 101, dtype=torch.float64)
    for v in t.tolist():
        at = torch.tensor(v, dtype=torch.float64)
        assert float(product.alpha(at)) == pytest.approx(s.alpha(v), abs=1e-14)
        assert float(product.dalpha(at)) == pytest.approx(s.dalpha(v), rel=1e-12, abs=1e-14)
        assert float(product.time(product.mask_rate(at))) == pytest.approx(v, abs=1e-9)


@pytest.mark.parametrize("s", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("time_conditioned", [False, True])
def test_exact_bounds_equal_the_enumeration(s, time_conditioned) -> None:
    """Integrals over the rate (product) against adaptive integration over time (oracle), to 1e-9 relative."""
    model = Table(3, seed=5, time_conditioned=time_conditioned)
    denoiser, product = OracleDenoiser(model), parse_schedule(s.name)
    x = (2, 0, 1)
    tokens = denoiser.encode(x).unsqueeze(0)
    if not time_conditioned:
        exact = float(ExactBound(product).window_nats(denoiser, tokens))
        assert exact == pytest.approx(continuous_bound(model, x, s).total, rel=1e-9)
    for num_steps in (1, 2, 5):
        exact = float(ExactBound(product, num_steps).window_nats(denoiser, tokens))
        assert exact == pytest.approx(t_step_bound(model, x, s, num_steps).total, rel=1e-12)


class _TimeTable(Table):
    """Conditioned on t where ``Table`` is on u: as steep in u as the inverse of the schedule."""

    def __init__(self, s) -> None:
        super().__init__(3, seed=5, time_conditioned=True)
        self._time = s.time

    def logits(self, window, u):
        return super().logits(window, self._time(u))


@pytest.mark.parametrize("s", some_of(SCHEDULES[::-1], everyday=2), ids=lambda s: s.name)
def test_the_bound_of_a_denoiser_that_is_told_the_time(s) -> None:
    """300 levels a mask: within 5 of the stated errors, false alarm 6e-7 each."""
    _within_its_errors(s, _TimeTable(s))


@pytest.mark.parametrize("s", some_of(SCHEDULES[::-1], everyday=1), ids=lambda s: s.name)
def test_the_bound_of_a_denoiser_that_is_told_the_rate(s) -> None:
    """As above: what it is told is smoother in the rate, for which levels are drawn."""
    _within_its_errors(s, Table(3, seed=5, time_conditioned=True))


def _within_its_errors(s, model) -> None:
    x = (2, 0, 1)
    denoiser = OracleDenoiser(model)
    bound = ExactBound(parse_schedule(s.name), None, 300)
    found = bound.span_bounds(denoiser, denoiser.encode(x).unsqueeze(0), np.array([0]))
    truth = continuous_bound(model, x, s).total
    assert abs(found.nats[0] - truth) < 5.0 * math.sqrt(found.variance[0]) < 0.1 * truth


@pytest.mark.parametrize("s", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("time_conditioned", [False, True])
def test_the_t_step_sampler_is_a_distribution_that_its_bound_bounds(s, time_conditioned) -> None:
    model = Table(2, seed=11, time_conditioned=time_conditioned)
    for num_steps in (1, 3):
        nll = {x: t_step_nll(model, x, s, num_steps) for x in itertools.product(range(2), repeat=3)}
        assert math.fsum(math.exp(-n) for n in nll.values()) == pytest.approx(1.0, abs=1e-12)
        for x, n in nll.items():
            assert t_step_bound(model, x, s, num_steps).total >= n - 1e-12


@pytest.mark.parametrize("s", FULL, ids=lambda s: s.name)
def test_a_perfect_denoiser_has_no_gap(s) -> None:
    """Continuous NELBO(x) = -log p(x) for every x of a Markov source."""
    model = Markov.random(3, seed=2)
    rng = random.Random(0)
    for x in [model.sample(4, rng), (0, 1, 2, 0), (2, 2, 1, 1)]:
        assert continuous_bound(model, x, s).total == pytest.approx(model.nats(x), rel=1e-9)


def test_markov_chain_rule_in_any_order_is_the_source_itself() -> None:
    model = Markov.random(3, seed=2)
    x = (0, 2, 1, 1)
    for order in itertools.permutations(range(4)):
        assert chain_nats(model, x, order) == pytest.approx(model.nats(x), rel=1e-12)


def test_mean_over_orders_is_the_bound_of_an_unconditioned_table() -> None:
    model, x = Table(3, seed=7), (1, 0, 2, 2)
    assert mean_over_orders(model, x) == pytest.approx(
        continuous_bound(model, x, schedule("loglinear")).total, rel=1e-9
    )


def test_uniform_and_context_free() -> None:
    x = (1, 0, 2, 2)
    context_free = ContextFree([0.5, 0.3, 0.2])
    for s in SCHEDULES:
        assert continuous_bound(Uniform(3), x, s).total == pytest.approx(4 * math.log(3), rel=1e-9)
        assert t_step_bound(Uniform(3), x, s, 4).total == pytest.approx(4 * math.log(3), rel=1e-12)
        assert t_step_nll(Uniform(3), x, s, 4) == pytest.approx(4 * math.log(3), rel=1e-12)
    for s in FULL:
        assert continuous_bound(context_free, x, s).total == pytest.approx(context_free.nats(x), rel=1e-9)
        assert t_step_bound(context_free, x, s, 7).total == pytest.approx(context_free.nats(x), rel=1e-12)


def test_more_steps_come_closer_to_the_continuous_bound() -> None:
    """gap = L (f(1) - f(0)) / (2T) + O(1 / T^2) on a grid uniform in u."""
    model, x, s = Markov.random(3, seed=4), (0, 1, 1, 2), schedule("loglinear")
    continuous = continuous_bound(model, x, s).total
    slope = 4 * (mean_masked_nll(model, x, 1.0) - mean_masked_nll(model, x, 0.0)) / 2
    for num_steps in (64, 128):
        gap = t_step_bound(model, x, s, num_steps).total - continuous
        assert gap * num_steps == pytest.approx(slope, rel=0.02)


@pytest.mark.parametrize("mask_token_id", [None, 0, 2])
def test_denoisers_satisfy_the_protocols(mask_token_id) -> None:
    markov = Markov.random(3, seed=1)
    denoiser = OracleDenoiser(markov, mask_token_id=mask_token_id, padding=3)
    assert isinstance(denoiser, Denoiser)
    assert isinstance(MarkovCausalLM(markov), CausalLM)
    x = (0, 2, 1)
    exact = ExactBound(parse_schedule("loglinear")).window_nats(denoiser, denoiser.encode(x).unsqueeze(0))
    assert float(exact) == pytest.approx(markov.nats(x), rel=1e-9)
