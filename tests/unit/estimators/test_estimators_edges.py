"""Estimators at their edges: defaults, types, what the network is asked and told, and how often."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import integrate

from bpb_harness.errors import UsageError
from bpb_harness.estimators import (
    AutoregressiveCode,
    ChainRule,
    ContinuousBound,
    DiscreteBound,
    ExactBound,
    prior_nats,
)  # fmt: skip
from bpb_harness.estimators.bound import all_nodes_of_grid
from bpb_harness.estimators.exact import all_masks, size_weights, truncated_beta
from bpb_harness.estimators.orders import SCORES, Order
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import CosineMd4, LogLinear

V, MASK = 3, 3


class Recorder:
    """Logits that depend on position, token and rate; every call is kept."""

    vocab_size, mask_token_id, context_length = V, MASK, 64

    def __init__(self, time_conditioned: bool = False, dtype: torch.dtype = torch.float64) -> None:
        self.time_conditioned, self.dtype = time_conditioned, dtype
        self.windows: list[list[list[int]]] = []
        self.rates: list[list[float]] = []
        self.times: list[list[float]] = []

    def logits(self, xt, level):
        self.windows.append(xt.tolist())
        self.rates.append(level.mask_rate.tolist())
        self.times.append(level.t.tolist())
        assert len(level) == len(xt)
        position = torch.arange(xt.shape[1], dtype=torch.float64)[None, :, None]
        token = torch.arange(V, dtype=torch.float64)[None, None, :]
        return (torch.cos(position + 2.0 * token) + 0.1 * xt.double().sum(dim=1)[:, None, None]).to(self.dtype)

    def nats(self, position: int, token: int) -> float:
        """-log p, which the visible tokens do not change: they move all logits alike."""
        logits = [math.cos(position + 2.0 * v) for v in range(V)]
        return math.log(sum(map(math.exp, logits))) - logits[token]


class Causal:
    vocab_size, context_length = V, 8

    def logits(self, x):
        return torch.nn.functional.one_hot((x + 1) % V, V).float().half()


# --- bounds -------------------------------------------------------------------------------------------------------


def test_what_goes_without_saying():
    assert (DiscreteBound(LogLinear()).num_samples, DiscreteBound(LogLinear()).num_steps) == (2, 128)
    assert ContinuousBound(LogLinear()).num_samples == 2
    assert ExactBound(LogLinear()).num_steps is None
    assert ChainRule(LogLinear(), RandomStreams(0)).order == "left-to-right"
    assert ChainRule(LogLinear(), RandomStreams(0)).tokens_per_step == 1


@pytest.mark.parametrize("kind", [DiscreteBound, ContinuousBound])
def test_one_sample_is_enough(kind):
    assert kind(LogLinear(0.2), 1).draw_weight == pytest.approx(0.8)
    assert kind(LogLinear(0.2), 4).draw_weight == pytest.approx(0.2)


def test_one_step_is_enough():
    for bound in (DiscreteBound(LogLinear(0.2), 1, 1), ExactBound(LogLinear(0.2), 1)):
        rates, weights = bound.nodes()
        assert (rates.tolist(), weights.tolist()) == ([0.8], [0.8])


def test_nodes_of_a_grid():
    rates, weights = all_nodes_of_grid(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64))
    assert (rates.tolist(), weights.tolist()) == ([0.25, 1.0], [0.25, 0.75])
    rates, weights = all_nodes_of_grid(torch.tensor([0.125, 0.25, 1.0], dtype=torch.float64))
    assert (rates.tolist(), weights.tolist()) == ([0.125, 0.25, 1.0], [0.125, 0.125, 0.75])
    assert weights.dtype == torch.float64


def test_the_integral_has_no_nodes():
    with pytest.raises(UsageError, match="no finite set of nodes; pass --steps"):
        ExactBound(LogLinear()).nodes()


def test_what_masks_weigh_in_the_integral():
    """Every size has the same share of the whole of (0, 1); of a part, what SciPy integrates."""
    count = np.array([1, 2, 3])
    assert size_weights(count, 3, 0.0, 1.0) == pytest.approx([1 / (k * math.comb(3, k)) for k in (1, 2, 3)], rel=1e-13)
    for k, weight in zip(count, size_weights(count, 3, 0.05, 0.8), strict=True):
        by_hand, _ = integrate.quad(lambda u, k=k: u ** (k - 1.0) * (1.0 - u) ** (3.0 - k), 0.05, 0.8)
        assert weight == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.05, 0.8), (1e-3, 0.01)])
def test_rates_follow_the_density_of_their_size(low, high):
    """Quantiles of the truncated Beta: the density integrated up to each is the uniform number it came from."""
    uniform, count = np.array([0.0, 0.1, 0.5, 0.9, 1.0 - 2.0**-53]), np.array([1, 2, 3, 4, 5])
    rates = truncated_beta(uniform, count, 5, low, high)
    assert ((rates >= low) & (rates <= high)).all()
    for u, k, share in zip(rates, count, uniform, strict=True):
        below = size_weights(np.array([k]), 5, low, float(u)) / size_weights(np.array([k]), 5, low, high)
        assert float(below[0]) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "steps", "conditioned", "passes"),
    [
        (LogLinear(), None, False, 7),
        (LogLinear(), None, True, 7 * 3),
        (CosineMd4(0.05), None, False, 7),
        (CosineMd4(0.05), None, True, 7 * 4),  # and once at u_0, for the reconstruction
        (LogLinear(), 5, False, 7),
        (LogLinear(), 5, True, 7 * 5),
        (CosineMd4(0.05), 5, True, 7 * 6),
    ],
)
def test_what_an_enumeration_costs(schedule, steps, conditioned, passes):
    bound, network = ExactBound(schedule, steps, 3), Recorder(conditioned)
    found = bound.span_bounds(network, torch.tensor([[0, 1, 2]]), np.array([4]))
    assert bound.passes(3, time_conditioned=conditioned) == passes == sum(map(len, network.windows))
    assert (found.variance[0] == 0.0) == (found.squared_variances[0] == 0.0)
    assert bound.relation(time_conditioned=conditioned) == ("~<=" if conditioned and steps is None else "<=")


def test_rates_are_a_windows_own_and_a_masks_own():
    """Two windows of the corpus, and two runs, are told other rates; the same window the same in any batch."""
    bound, x0 = ExactBound(LogLinear(), None, 2, RandomStreams(3)), torch.tensor([[0, 1, 2], [0, 1, 2]])
    network = Recorder(True)
    bound.span_bounds(network, x0, np.array([4, 5]))
    first, second, third, fourth = network.rates
    assert len({*first, *second, *third, *fourth}) == 28
    alone = Recorder(True)
    bound.span_bounds(alone, x0[:1], np.array([5]))
    assert alone.rates == [third, fourth]
    other = Recorder(True)
    replace(bound, streams=RandomStreams(2)).span_bounds(other, x0[:1], np.array([5]))
    assert not set(other.rates[0]) & set(third)


def test_the_network_is_asked_at_u_0_for_the_reconstruction():
    network = Recorder(True)
    ExactBound(CosineMd4(0.05)).span_bounds(network, torch.tensor([[0, 1, 2]]), np.array([0]))
    assert network.rates[0] == pytest.approx([0.05] * 7)
    assert all(0.05 <= rate <= 0.95 for rates in network.rates[1:] for rate in rates)


def test_the_variance_is_that_of_independent_masks():
    """A network whose masked tokens cost the rate: two draws' variance is a quarter of their squared difference."""

    class Told(Recorder):
        def logits(self, xt, level):
            self.rates.append(level.mask_rate.tolist())
            # log(1 + exp(-z)) = u at every position: token 0 costs u.
            z = -torch.log(torch.expm1(level.mask_rate)).double()
            column = torch.zeros(*xt.shape, V, dtype=torch.float64)
            column[..., 2] = -torch.inf
            column[..., 0] = z[:, None]
            return column

    network = Told(True)
    found = ExactBound(LogLinear()).span_bounds(network, torch.tensor([[0, 0]]), np.array([0]))
    weight, size = np.array([0.5, 0.5, 0.5]), np.array([1, 1, 2])
    first, second = (weight * size * np.array(rates) for rates in network.rates)
    assert found.nats[0] == pytest.approx(float((first + second).sum() / 2), rel=1e-9)
    by_mask = (first - second) ** 2 / 4
    assert found.variance[0] == pytest.approx(float(by_mask.sum()), rel=1e-9)
    assert found.squared_variances[0] == pytest.approx(float((by_mask**2).sum()), rel=1e-9)


@pytest.mark.parametrize("kind", [DiscreteBound, ContinuousBound])
def test_rates_of_positions_are_float64(kind):
    rates = kind(LogLinear(0.2), 1).mask_rate(torch.tensor([0.5, 1.0]))
    assert rates.dtype == torch.float64
    assert float(rates[1]) == pytest.approx(0.8)


def test_the_continuous_bound_looks_at_the_rate_itself_but_not_below_u_0():
    bound = ContinuousBound(CosineMd4(0.05))
    rates = bound.round_up(torch.tensor([1e-9, 0.05, 0.06, 0.95], dtype=torch.float64))
    assert rates.tolist() == [0.05, 0.05, 0.06, 0.95]
    assert bound.is_reconstruction(rates).tolist() == [True, True, False, False]


def test_rates_above_the_grid_by_rounding_are_its_last():
    bound = DiscreteBound(LogLinear(), 1, 4)
    rates = bound.round_up(torch.tensor([0.0, 1.0, 1.0 + 1e-12], dtype=torch.float64))
    assert rates.tolist() == [0.25, 1.0, 1.0]  # a rate of 0 would mask nothing
    dirty = DiscreteBound(CosineMd4(0.05), 1, 2)
    assert dirty.round_up(torch.tensor([1e-9, 0.05], dtype=torch.float64)).tolist() == [0.05, 0.05]


def test_the_prior_is_in_nats_for_each_token():
    assert prior_nats(CosineMd4(0.25), 8, 2) == pytest.approx(0.25 * 8 * math.log(2.0))


# --- enumeration --------------------------------------------------------------------------------------------------


def test_every_mask_but_the_empty_one():
    masks = all_masks(3)
    assert masks.dtype == torch.bool
    assert sorted(map(tuple, masks.tolist())) == sorted(
        (bool(a), bool(b), bool(c)) for a in (0, 1) for b in (0, 1) for c in (0, 1) if a or b or c
    )


@pytest.mark.parametrize(("time_conditioned", "calls"), [(False, 1), (True, 5)])
def test_a_network_that_ignores_the_noise_is_asked_once(time_conditioned, calls):
    network = Recorder(time_conditioned)
    ExactBound(LogLinear(), 5).window_nats(network, torch.tensor([[0, 1, 2]]))
    assert len(network.windows) == calls
    assert [rates[0] for rates in network.rates][:calls] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0][:calls])
    assert all(len(rates) == 7 for rates in network.rates)


def test_windows_of_12_tokens_in_float64():
    x0 = torch.tensor([[0, 1, 2] * 4, [2] * 12])
    network = Recorder()
    nats = ExactBound(LogLinear()).window_nats(network, x0)
    assert nats.dtype == torch.float64
    expected = [sum(network.nats(i, token) for i, token in enumerate(row)) for row in x0.tolist()]
    assert nats.tolist() == pytest.approx(expected, rel=1e-9)


def test_masks_go_through_the_network_in_parts(monkeypatch):
    whole = ExactBound(LogLinear()).window_nats(Recorder(), torch.tensor([[0, 1, 2, 0]]))
    monkeypatch.setattr("bpb_harness.estimators.exact.ROWS_PER_CALL", 4)
    network = Recorder()
    parts = ExactBound(LogLinear()).window_nats(network, torch.tensor([[0, 1, 2, 0]]))
    assert parts.tolist() == pytest.approx(whole.tolist(), rel=1e-14)
    assert [len(rows) for rows in network.windows] == [4, 4, 4, 3]


# --- the chain rule -----------------------------------------------------------------------------------------------

X0 = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])


@pytest.mark.parametrize(("tokens_per_step", "passes"), [(1, 5), (2, 3), (3, 2), (5, 1), (9, 1)])
def test_passes(tokens_per_step, passes):
    rule = ChainRule(LogLinear(), RandomStreams(0), tokens_per_step=tokens_per_step)
    assert rule.passes(5) == passes
    assert isinstance(rule.passes(5), int)


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("tokens_per_step", [1, 2, 7])
def test_each_token_is_paid_where_it_stands(order, tokens_per_step):
    network = Recorder(dtype=torch.float32)
    rule = ChainRule(LogLinear(), RandomStreams(4), order=order, tokens_per_step=tokens_per_step)
    nats = rule.token_nats(network, X0, np.array([7, 3]))
    assert nats.dtype == torch.float64
    for row, tokens in enumerate(X0.tolist()):
        expected = [network.nats(i, token) for i, token in enumerate(tokens)]
        assert nats[row].tolist() == pytest.approx(expected, rel=1e-5)
    assert len(network.windows) == rule.passes(5)


def test_what_a_chain_shows_and_tells_the_network():
    network = Recorder()
    rule = ChainRule(CosineMd4(0.1), RandomStreams(0), tokens_per_step=2)
    rule.token_nats(network, X0, np.array([0, 1]))
    m = MASK
    assert [rows[0] for rows in network.windows] == [[m] * 5, [0, 1, m, m, m], [0, 1, 2, 0, m]]
    assert network.rates == [pytest.approx([0.9 * share] * 2) for share in (1.0, 0.6, 0.2)]
    schedule = CosineMd4(0.1)
    for rates, times in zip(network.rates, network.times, strict=True):
        rate = torch.tensor(rates, dtype=torch.float64)
        assert times == pytest.approx(schedule.time(rate).tolist())


def test_each_window_has_its_own_random_order():
    streams = RandomStreams(9)
    network = Recorder()
    ChainRule(LogLinear(), streams, order="random").token_nats(network, X0, np.array([6, 2]))
    for row, window in enumerate((6, 2)):
        order = streams.order(window, 0, 5).tolist()
        hidden = [[i for i in range(5) if rows[row][i] == MASK] for rows in network.windows]
        assert hidden == [sorted(order[step:]) for step in range(5)]


@pytest.mark.parametrize("order", get_args(Order))
def test_a_chain_stays_on_the_device_of_its_tokens(order):
    class Elsewhere(Recorder):
        def logits(self, xt, level):
            assert {xt.device.type, level.t.device.type, level.alpha_t.device.type} == {"meta"}
            return torch.zeros((*xt.shape, V), dtype=torch.float64, device="meta")

    rule = ChainRule(LogLinear(), RandomStreams(0), order=order, tokens_per_step=2)
    nats = rule.token_nats(Elsewhere(), X0.to("meta"), np.array([0, 1]))
    assert (nats.device.type, nats.dtype, nats.shape) == ("meta", torch.float64, X0.shape)


@pytest.mark.parametrize("order", SCORES)
def test_ties_are_broken_by_position(order):
    class Level(Recorder):
        def logits(self, xt, level):
            super().logits(xt, level)
            return torch.zeros((*xt.shape, V), dtype=torch.float64)

    network = Level()
    ChainRule(LogLinear(), RandomStreams(0), order=order).token_nats(network, X0[:1], np.array([0]))
    assert [rows[0].count(MASK) for rows in network.windows] == [5, 4, 3, 2, 1]
    assert [rows[0][: 5 - rows[0].count(MASK)] for rows in network.windows] == [X0[0, :n].tolist() for n in range(5)]


# --- autoregressive -----------------------------------------------------------------------------------------------


def test_nats_of_a_narrow_network_are_float64():
    x, targets = torch.tensor([[0, 1, 2]]), torch.tensor([[1, 0, 0]])
    nats = AutoregressiveCode().token_nats(Causal(), x, targets)
    total = math.log(math.e + 2.0)
    assert nats.dtype == torch.float64
    assert nats.shape == (1, 3)
    assert nats[0].tolist() == pytest.approx([total - 1.0, total, total - 1.0], rel=1e-6)


class RecorderOfContexts(Recorder):
    """Is told where contexts end, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(time_conditioned=True)
        self.told: list[tuple[list[int], list[float]]] = []

    def logits_given(self, xt, level, context_lengths):
        self.told.append((context_lengths.tolist(), level.mask_rate.tolist()))
        return self.logits(xt, level)


@pytest.mark.parametrize("step", [1, 2])
def test_what_is_revealed_from_the_left_becomes_context(step):
    """All that is left is masked, so that the rate told is the schedule's largest at every step."""
    network, schedule = RecorderOfContexts(), CosineMd4(0.05)
    rule = ChainRule(schedule, RandomStreams(0), tokens_per_step=step)
    rule.token_nats(network, X0, np.array([0, 1]), context_length=1)
    assert [lengths for lengths, _ in network.told] == [[n] * 2 for n in range(1, 5, step)]
    for _, rates in network.told:
        assert rates == pytest.approx([schedule.max_mask_rate] * 2)


@pytest.mark.parametrize("order", ["random", "confidence"])
def test_in_other_orders_the_context_stays_what_it_was(order):
    network, schedule = RecorderOfContexts(), CosineMd4(0.05)
    ChainRule(schedule, RandomStreams(0), order=order).token_nats(network, X0, np.array([0, 1]), context_length=1)
    assert [lengths for lengths, _ in network.told] == [[1, 1]] * 4
    for (_, rates), left in zip(network.told, (4, 3, 2, 1), strict=True):
        assert rates == pytest.approx([max(schedule.max_mask_rate * left / 4, schedule.min_mask_rate)] * 2)
