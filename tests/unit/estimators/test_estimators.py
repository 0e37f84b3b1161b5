"""Every estimator against the plain-Python oracles: all schedules, time-conditioned denoisers included."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from bpb_harness.errors import UsageError
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ContinuousBound, DiscreteBound, ExactBound, prior_nats
from bpb_harness.estimators.orders import Order
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from tests import oracles
from tests.oracles import (
    ContextFree,
    Markov,
    MarkovCausalLM,
    OracleDenoiser,
    Table,
    Uniform,
    blockwise_nats,
    chain_nats,
    continuous_bound,
    mean_masked_nll,
    mean_over_orders,
    ordered_nats,
    t_step_bound,
    t_step_nll,
)

SCHEDULES = [
    ("loglinear",),
    ("loglinear", 0.001),
    ("loglinear", 0.2),
    ("cosine-mdlm", 0.01),
    ("cosine-md4",),
    ("cosine-md4", 0.05),
    ("polynomial", 2.0),
    ("polynomial", 3.0, 0.05),
    ("geometric", 0.05, 5.0),
]
MODELS = {
    "uniform": Uniform(3),
    "context-free": ContextFree([0.6, 0.3, 0.1]),
    "markov": Markov.random(3, seed=1),
    "table": Table(3, seed=2),
    "time-conditioned": Table(3, seed=3, time_conditioned=True),
}
WINDOW = (2, 0, 1, 1)

every_schedule = pytest.mark.parametrize("parts", SCHEDULES, ids=lambda parts: oracles.schedule(*parts).name)
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def exact(model, schedule_name: str, window=WINDOW, num_steps=None, **kwargs) -> float:
    denoiser = OracleDenoiser(model, **kwargs)
    bound = ExactBound(parse_schedule(schedule_name), num_steps)
    return float(bound.window_nats(denoiser, denoiser.encode(window).unsqueeze(0))[0])


@every_schedule
@pytest.mark.parametrize("model", [m for m in MODELS.values() if not m.time_conditioned])
def test_exact_is_the_continuous_bound(parts, model):
    truth = continuous_bound(model, WINDOW, oracles.schedule(*parts)).total
    assert exact(model, oracles.schedule(*parts).name) == pytest.approx(truth, rel=1e-9)


@every_schedule
@every_model
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_exact_with_steps_is_the_t_step_bound(parts, model, num_steps):
    truth = t_step_bound(model, WINDOW, oracles.schedule(*parts), num_steps).total
    assert exact(model, oracles.schedule(*parts).name, num_steps=num_steps) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("inside", [0, 1, 3])
def test_a_mask_inside_the_vocabulary_and_padded_columns_change_nothing(inside):
    model = MODELS["time-conditioned"]
    plain = exact(model, "loglinear[0.2]")
    assert exact(model, "loglinear[0.2]", mask_token_id=inside, padding=5) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_a_perfect_denoiser_costs_minus_log_p(seed):
    model = Markov.random(4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    window = tuple(torch.randint(4, (7,), generator=generator).tolist())
    assert exact(model, "loglinear", window) == pytest.approx(model.nats(window), rel=1e-9)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_t_step_bound_bounds_the_t_step_sampler(num_steps):
    model = MODELS["time-conditioned"]
    schedule = oracles.schedule("cosine-mdlm", 0.01)
    assert exact(model, schedule.name, num_steps=num_steps) >= t_step_nll(model, WINDOW, schedule, num_steps) - 1e-9


@every_schedule
@pytest.mark.parametrize("num_steps", [1, 4, 7])
def test_discrete_nodes_add_up_to_the_bound(parts, num_steps):
    """``--samples all`` without its prior: sum of weight * L * f over the nodes."""
    model, schedule = MODELS["time-conditioned"], oracles.schedule(*parts)
    bound = DiscreteBound(parse_schedule(schedule.name), "all", num_steps)
    rates, weights = bound.nodes()
    total = sum(
        float(w) * len(WINDOW) * mean_masked_nll(model, WINDOW, float(u)) for u, w in zip(rates, weights, strict=True)
    )
    truth = t_step_bound(model, WINDOW, schedule, num_steps)
    assert total == pytest.approx(truth.total - truth.prior, rel=1e-9)
    assert float(weights.sum()) == pytest.approx(bound.schedule.max_mask_rate)


@every_schedule
@pytest.mark.parametrize("kind", ["discrete", "mc"])
def test_the_mean_over_positions_is_the_bound(parts, kind):
    """A fine midpoint rule over v in place of random positions."""
    model, schedule = MODELS["time-conditioned"], oracles.schedule(*parts)
    parsed = parse_schedule(schedule.name)
    bound = DiscreteBound(parsed, 1, 4) if kind == "discrete" else ContinuousBound(parsed, 1)
    truth = (
        t_step_bound(model, WINDOW, schedule, 4) if kind == "discrete" else continuous_bound(model, WINDOW, schedule)
    )
    count = 4000
    rates = bound.mask_rate((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    distinct, times = torch.unique(rates, return_counts=True)
    mean = sum(
        float(times[i]) * mean_masked_nll(model, WINDOW, float(distinct[i])) / count for i in range(len(distinct))
    ) if len(distinct) < 10 else _trapezoid(model, rates)  # fmt: skip
    estimate = bound.draw_weight * len(WINDOW) * mean
    assert estimate == pytest.approx(truth.total - truth.prior, rel=2e-3)


def _trapezoid(model, rates):
    """Mean of f over many rates, from every 50th."""
    return float(np.mean([mean_masked_nll(model, WINDOW, float(u)) for u in rates[25::50]]))


def test_rounding_up_hits_the_grid_and_never_the_cleaner_end():
    bound = DiscreteBound(parse_schedule("loglinear"), 1, 4)
    rates = bound.mask_rate(torch.tensor([1e-9, 0.25, 0.2500001, 0.74, 0.75, 0.76, 1.0], dtype=torch.float64))
    assert rates.tolist() == [0.25, 0.25, 0.5, 0.75, 0.75, 1.0, 1.0]


def test_only_a_schedule_that_starts_dirty_has_a_reconstruction_term():
    clean, dirty = parse_schedule("cosine-md4"), parse_schedule("cosine-md4[0.05]")
    position = torch.tensor([1e-6, 0.5], dtype=torch.float64)
    for kind in (DiscreteBound, ContinuousBound):
        assert not kind(clean, 1).is_reconstruction(kind(clean, 1).mask_rate(position)).any()
        assert kind(dirty, 1).is_reconstruction(kind(dirty, 1).mask_rate(position)).tolist() == [True, False]


def test_the_prior_is_the_price_of_the_tokens_left_visible():
    assert prior_nats(parse_schedule("loglinear[0.001]"), 2048, 1024) == pytest.approx(0.001 * 2048 * math.log(1024))
    assert prior_nats(parse_schedule("loglinear"), 2048, 1024) == 0.0


def chain(model, window=WINDOW, schedule="loglinear", **kwargs) -> float:
    denoiser = OracleDenoiser(model)
    rule = ChainRule(parse_schedule(schedule), RandomStreams(0), **kwargs)
    return float(rule.token_nats(denoiser, denoiser.encode(window).unsqueeze(0), np.array([0])).sum())


class TestChainRule:
    @every_model
    @pytest.mark.parametrize("u_max", [1.0, 0.8])
    def test_left_to_right(self, model, u_max):
        name = "loglinear" if u_max == 1.0 else "loglinear[0.2]"
        truth = chain_nats(model, WINDOW, range(4), u_max)
        assert chain(model, schedule=name) == pytest.approx(truth, rel=1e-9)

    @every_model
    @pytest.mark.parametrize("tokens_per_step", [1, 2, 3])
    @pytest.mark.parametrize("order", ["confidence", "entropy", "margin"])
    @pytest.mark.parametrize("u_max", [1.0, 0.8])
    def test_orders_by_the_networks_predictions(self, model, tokens_per_step, order, u_max):
        name = "loglinear" if u_max == 1.0 else "loglinear[0.2]"
        truth, _ = ordered_nats(model, WINDOW, order, tokens_per_step, u_max)
        found = chain(model, schedule=name, order=order, tokens_per_step=tokens_per_step)
        assert found == pytest.approx(truth, rel=1e-9)

    def test_blocks(self):
        model = MODELS["time-conditioned"]
        truth = blockwise_nats(model, WINDOW, [(0, 1, 2), (3,)])
        assert chain(model, tokens_per_step=3) == pytest.approx(truth, rel=1e-9)

    def test_a_random_order_is_the_order_of_the_stream(self):
        model = MODELS["table"]
        order = RandomStreams(0).order(0, 0, 4).tolist()
        assert chain(model, order="random") == pytest.approx(chain_nats(model, WINDOW, order), rel=1e-9)

    def test_its_mean_over_random_orders_is_the_nelbo(self):
        """For any unconditioned table with alpha(1) = 0; all 24 orders by the oracle, then the product over many."""
        model = MODELS["table"]
        nelbo = exact(model, "loglinear")
        assert mean_over_orders(model, WINDOW) == pytest.approx(nelbo, rel=1e-9)
        denoiser = OracleDenoiser(model)
        rule = ChainRule(parse_schedule("loglinear"), RandomStreams(1), order="random")
        count = 2000
        x0 = denoiser.encode(WINDOW).expand(count, -1)
        nats = rule.token_nats(denoiser, x0, np.arange(count)).sum(dim=-1)
        # within 4.5 standard errors: false alarm 7e-6
        assert abs(float(nats.mean()) - nelbo) < 4.5 * float(nats.std()) / count**0.5

    def test_a_perfect_denoiser_costs_minus_log_p_in_every_order(self):
        model = MODELS["markov"]
        for order in get_args(Order):
            assert chain(model, order=order) == pytest.approx(model.nats(WINDOW), rel=1e-9)

    def test_code_lengths_of_all_windows_fill_kraft_exactly(self):
        model = MODELS["time-conditioned"]
        windows = [(a, b, c) for a in range(3) for b in range(3) for c in range(3)]
        for order in get_args(Order):
            for tokens_per_step in (1, 2):
                total = sum(
                    math.exp(-chain(model, window, order=order, tokens_per_step=tokens_per_step)) for window in windows
                )
                assert total == pytest.approx(1.0, rel=1e-9)

    def test_bad_settings(self):
        with pytest.raises(UsageError, match="--order"):
            ChainRule(parse_schedule("loglinear"), RandomStreams(0), order="backwards")
        with pytest.raises(UsageError, match="tokens-per-step"):
            ChainRule(parse_schedule("loglinear"), RandomStreams(0), tokens_per_step=0)


class TestAutoregressive:
    def test_token_nats_are_the_chains(self):
        model = MODELS["markov"]
        x = torch.tensor([[0, 2, 1, 1, 0]])
        nats = AutoregressiveCode().token_nats(MarkovCausalLM(model), x[:, :-1], x[:, 1:])
        truth = model.nats(tuple(x[0].tolist())) + math.log(model.initial[0])
        assert float(nats.sum()) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda s: DiscreteBound(s, 0), "samples"),
        (lambda s: DiscreteBound(s, 1, 0), "--steps"),
        (lambda s: ContinuousBound(s, "all"), "all"),
        (lambda s: ExactBound(s, 0), "--steps"),
    ],
)
def test_bad_settings_are_refused(make, part):
    with pytest.raises(UsageError, match=part):
        make(parse_schedule("loglinear"))


def test_windows_too_long_to_enumerate_are_refused():
    with pytest.raises(UsageError, match="chain"):
        exact(MODELS["uniform"], "loglinear", (0,) * 13)
