"""Orders by the network's predictions, over tables of log-probabilities."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from bpb_harness.estimators import ChainRule, orders
from bpb_harness.estimators.orders import SCORES, TIES, Order, next_positions
from bpb_harness.evaluation import settings
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from tests.oracles import OracleDenoiser, Table, ordered_nats
from tests.oracles.chain import SCORES as EXPECTED

INF = math.inf


def table(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log().unsqueeze(0)


def first(order, log_probs, visible=(), count=1) -> list[int]:
    hidden = torch.zeros(log_probs.shape[:2], dtype=torch.bool)
    hidden[:, list(visible)] = True
    return next_positions(order, log_probs, hidden, count)[0].tolist()


def test_the_settings_take_the_orders_that_there_are():
    assert get_args(settings.Order) == get_args(Order)
    assert {*SCORES} == {*get_args(Order)} - {"left-to-right", "random"}


def test_the_three_scores_choose_three_places():
    rows = table([[0.62, 0.26, 0.06, 0.06], [0.52, 0.48, 0, 0], [0.6, 0.14, 0.13, 0.13], [1, 0, 0, 0]])
    assert [first(order, rows, visible=[3]) for order in ("confidence", "entropy", "margin")] == [[0], [1], [2]]


def test_a_margin_is_one_of_probabilities():
    """Of log-probabilities the second place has the larger one: a factor of 2.2, against one of 1.8."""
    rows = table([[0.64, 0.36, 0, 0, 0], [0.36, 0.16, 0.16, 0.16, 0.16]])
    assert orders.margin(rows)[0].tolist() == pytest.approx([0.28, 0.20])
    assert first("margin", rows) == [0]


@pytest.mark.parametrize("order", SCORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_those_of_plain_python(order, dtype):
    rows = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).mul(3)
    rows[0, 0, 2], rows[1, 3, :6] = -INF, -INF
    rows = rows.log_softmax(-1).to(dtype)
    found = SCORES[order](rows)
    assert found.shape == (3, 5)
    assert found.dtype == (dtype if order == "confidence" else torch.float64)
    expected = [[EXPECTED[order](row) for row in window] for window in rows.tolist()]
    for ours, theirs in zip(found.tolist(), expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_entropy_is_that_of_any_number_of_rows(monkeypatch):
    rows = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    whole = orders.entropy(rows)
    for at_once in (1, 4, 15, 16):
        monkeypatch.setattr(orders, "_ROWS_AT_ONCE", at_once)
        assert torch.equal(orders.entropy(rows), whole)
    assert torch.equal(orders.entropy(rows[0, 2:3]), whole[0, 2:3])


@pytest.mark.parametrize("order", SCORES)
def test_a_vocabulary_of_one_token_has_scores(order):
    assert SCORES[order](torch.zeros(1, 3, 1)).tolist() == [[1.0 if order == "margin" else 0.0] * 3]


@pytest.mark.parametrize("order", SCORES)
def test_what_was_revealed_never_comes_again_and_ties_go_by_position(order):
    row = [0.7, 0.2, 0.1]
    rows = table([row, [1.0, 0.0, 0.0], row, [1 / 3] * 3, row])
    assert sorted(first(order, rows, visible=[1], count=3)) == [0, 2, 4]
    assert sorted(first(order, rows, visible=[1], count=2)) == [0, 2]
    assert first(order, rows, visible=[0, 1, 2, 4]) == [3]
    assert sorted(first(order, rows, count=2)) == [0, 1]


@pytest.mark.parametrize("order", [order for order, tie in TIES.items() if tie])
def test_scores_that_rounding_may_tell_apart_are_equals(order):
    """Places 1 and 3 are surer; of the others, which differ by less than rounding does, the first come first."""
    alike = torch.tensor([[0.5 + 1e-6 * k, 0.5 - 1e-6 * k] for k in (40, 0, 44, 0, 46, 48)], dtype=torch.float64)
    alike[1], alike[3] = torch.tensor([0.8, 0.2]), torch.tensor([0.9, 0.1])
    rows = alike.log().unsqueeze(0)
    assert [sorted(first(order, rows, count=count)) for count in (1, 2, 3, 4)] == [[3], [1, 3], [0, 1, 3], [0, 1, 2, 3]]
    assert first(order, rows, visible=[1, 3]) == [0]
    assert first(order, rows, visible=[0, 1, 3], count=2) == [2, 4]
    assert first("confidence", rows, visible=[1, 3]) == [5]


@pytest.mark.parametrize("order", [order for order, tie in TIES.items() if tie])
@pytest.mark.parametrize("away", [0.9, 1.1])
def test_how_far_apart_equals_lie(order, away):
    low = 0.7
    high = low + away * TIES[order] / 2  # a margin of p is 2 p - 1
    if order == "entropy":
        high = low + away * TIES[order] / math.log(low / (1 - low))
    rows = table([[low, 1 - low], [high, 1 - high]])
    assert first(order, rows) == [0 if away < 1 else 1]


@pytest.mark.parametrize("order", SCORES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_no_number_comes_at_once_and_not_what_was_revealed(order, count):
    """So that it is paid for, and the score refused."""
    rows = table([[0.9, 0.1], [0.5, 0.5], [0.6, 0.4], [0.8, 0.2]])
    rows[0, 1] = rows[0, 2] = math.nan
    chosen = first(order, rows, visible=[0], count=count)
    assert len(set(chosen)) == count
    assert 0 not in chosen
    assert set(chosen) >= ({1, 2} if count > 1 else set())
    assert chosen[0] in {1, 2}


@pytest.mark.parametrize("order", SCORES)
def test_a_row_of_a_batch_is_ordered_by_its_own_predictions(order):
    rows = torch.cat([table([[0.9, 0.1], [0.6, 0.4]]), table([[0.6, 0.4], [0.9, 0.1]])])
    assert next_positions(order, rows, torch.zeros(2, 2, dtype=torch.bool), 1).tolist() == [[0], [1]]


@pytest.mark.parametrize("order", SCORES)
@pytest.mark.parametrize("tokens_per_step", [1, 2, 3])
@pytest.mark.parametrize("mask_token_id", [None, 0, 2])
def test_texts_of_tables_that_contradict_each_other(order, tokens_per_step, mask_token_id):
    """Each text costs what plain Python says, in the same steps, and all texts together fill Kraft's sum exactly."""
    model, length = Table(3, seed=11, time_conditioned=True), 4
    denoiser = OracleDenoiser(model, mask_token_id=mask_token_id)
    texts = [tuple(int(digit) for digit in np.base_repr(number, 3).zfill(length)) for number in range(3**length)]
    rule = ChainRule(parse_schedule("loglinear"), RandomStreams(0), order, tokens_per_step)
    nats, revealed = rule.reveal(denoiser, torch.stack([denoiser.encode(x) for x in texts]), np.arange(len(texts)))
    for text, cost, when in zip(texts, nats.sum(-1).tolist(), revealed.tolist(), strict=True):
        expected, steps = ordered_nats(model, text, order, tokens_per_step)
        assert cost == pytest.approx(expected, rel=1e-12)
        assert [sorted(step) for step in steps] == [
            [i for i in range(length) if when[i] == step] for step in range(len(steps))
        ]
    assert float((-nats.sum(-1)).exp().sum()) == pytest.approx(1.0, abs=1e-12)
