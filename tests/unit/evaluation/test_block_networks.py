"""Which spans a network of blocks takes."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from bpb_harness.denoiser import own_block_size
from bpb_harness.errors import UsageError
from bpb_harness.estimators import orders
from bpb_harness.evaluation.block_networks import require_whole_blocks, with_own_blocks
from bpb_harness.evaluation.settings import Order, Settings
from bpb_harness.text.spans import Spans, blocks, sliding, windows


class OfBlocks:
    vocab_size = mask_token_id = 4
    context_length, time_conditioned, block_size = 12, False, 4

    def logits(self, xt, level): ...


class Plain(OfBlocks):
    block_size = None


class Causal:
    vocab_size, context_length, block_size = 4, 12, 4

    def logits(self, x): ...


def refusal(settings: Settings, model: Any) -> str:
    with pytest.raises(UsageError) as caught:
        with_own_blocks(settings, model)
    return str(caught.value)


def spans(*triples: tuple[int, int, int]) -> Spans:
    return Spans(*(np.array(column, dtype=np.int64) for column in zip(*triples, strict=True)))


@pytest.mark.parametrize(
    "taken",
    [
        blocks(0, 24, 12, 4), blocks(0, 24, 8, 4), blocks(0, 22, 12, 4), blocks(0, 21, 12, 4), blocks(3, 6, 12, 4),
        windows(0, 24, 4), windows(0, 10, 4), windows(5, 8, 12, unpaid_prefix=1),
        spans((0, 1, 4)), spans((0, 6, 8), (100, 101, 104)), spans((7, 15, 19)), spans((7, 15, 17)),
        spans((0, 0, 3), (3, 3, 7), (3, 7, 8), (8, 8, 12)),
    ],
)  # fmt: skip
def test_whole_blocks_behind_whole_blocks(taken):
    require_whole_blocks(OfBlocks(), taken)


@pytest.mark.parametrize(
    ("refused", "seen"),
    [
        (windows(0, 24, 12), "12 targets in several of its blocks"),
        (windows(0, 5, 12), "5 targets in several of its blocks"),
        (windows(0, 12, 6, unpaid_prefix=1), "5 targets in several of its blocks"),
        (sliding(0, 24, 12, 4, given=0), "12 targets in several of its blocks"),
        (blocks(0, 24, 12, 6), "6 targets in several of its blocks"),
        (blocks(0, 24, 12, 2), "2 targets in a part of a block"),
        (blocks(0, 24, 12, 1), "1 targets in a part of a block"),
        (spans((0, 0, 4), (0, 3, 5)), "2 targets in several of its blocks"),
        (spans((0, 0, 4), (9, 9, 11), (9, 11, 13)), "2 targets in a part of a block"),
    ],
)
def test_others_name_the_size_of_its_blocks(refused, seen):
    with pytest.raises(UsageError) as caught:
        require_whole_blocks(OfBlocks(), refused)
    assert str(caught.value) == (
        f"a network that predicts blocks of 4 tokens, each given the blocks before it: got {seen}, expected blocks of "
        "4; pass --block-size 4"
    )
    require_whole_blocks(Plain(), refused)


def test_who_has_no_blocks_takes_any_spans():
    class WithoutTheWord:
        vocab_size = mask_token_id = 4

    require_whole_blocks(WithoutTheWord(), windows(0, 24, 12))


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1, 1), (4, 4), (11, 11), (np.int64(4), 4),
        (12, None), (13, None), (0, None), (-4, None), (None, None), (True, None), (4.0, None), ("4", None),
    ],
)  # fmt: skip
def test_blocks_are_shorter_than_the_context(given, size):
    network = OfBlocks()
    network.block_size = given
    assert own_block_size(network) == size
    if size is None:  # in every place that asks, it is an ordinary network
        require_whole_blocks(network, windows(0, 24, 12))
        assert with_own_blocks(Settings(), network).block_size is None


def test_only_a_denoiser_has_blocks():
    assert own_block_size(Causal()) is None
    assert own_block_size(None) is None
    chosen = Settings(method="ar")
    assert with_own_blocks(chosen, Causal()) == chosen
    assert with_own_blocks(chosen, OfBlocks()) == chosen  # refused as a method that is not the network's


def test_own_blocks_where_no_layout_is_asked_for():
    assert with_own_blocks(Settings(), OfBlocks()).block_size == 4
    assert with_own_blocks(Settings(context_length=8), OfBlocks()).block_size == 4
    assert with_own_blocks(Settings(stride=3, context_length=6), OfBlocks()).block_size is None
    assert with_own_blocks(Settings(block_size=2), OfBlocks()).block_size == 2
    assert with_own_blocks(Settings(context_length=101), OfBlocks()).block_size == 4  # refused as what is too long


@pytest.mark.parametrize("flag", [{}, {"block_size": 4}])
@pytest.mark.parametrize(("context", "right"), [(1, 4), (3, 4), (5, 4), (7, 4), (9, 8), (11, 8)])
def test_windows_that_the_blocks_do_not_divide(context, right, flag):
    assert refusal(Settings(context_length=context, **flag), OfBlocks()) == (
        f"the network's blocks of 4: got windows of {context} tokens, which they do not divide, expected a multiple of "
        f"4; pass --context {right}, a multiple"
    )
    assert with_own_blocks(Settings(context_length=right), OfBlocks()).block_size == 4


def test_a_context_of_the_network_that_its_blocks_do_not_divide():
    network = OfBlocks()
    network.block_size = 5
    assert refusal(Settings(), network).endswith("got windows of 12 tokens, which they do not divide, expected a "
                                                 "multiple of 5; pass --context 10, a multiple")  # fmt: skip


ANSWERS: Any = {"docs": "qa.jsonl", "context_field": "prompt", "target_field": "answer"}


def test_answers_in_blocks_of_the_network_alone():
    for flag in ({}, {"block_size": 4}):  # the size is then known by the network; its rows need not be whole blocks
        assert with_own_blocks(Settings(**ANSWERS, **flag, context_length=5), OfBlocks()).block_size is None
    whole = OfBlocks()
    whole.block_size = 12
    assert with_own_blocks(Settings(**ANSWERS, block_size=12), whole).block_size is None
    said = "--block-size with --target-field: got 2, expected answers, each scored by itself"
    chosen = Settings(**ANSWERS, block_size=2)
    assert refusal(chosen, OfBlocks()) == f"{said}, in the network's blocks of 4; leave out --block-size"
    for other in (True, [2], 2.0, "2", torch.zeros(2)):  # a number of that name it is not
        whole.block_size = other
        assert refusal(chosen, whole) == f"{said}; leave out --block-size"
    whole.block_size = True
    with pytest.raises(UsageError, match="got 1, expected answers, each scored by itself; leave"):
        with_own_blocks(Settings(**ANSWERS, block_size=1), whole)
    assert refusal(chosen, whole) == refusal(chosen, Plain()) == f"{said}; leave out --block-size"


def test_orders_of_the_settings_are_those_of_the_estimator():
    assert get_args(Order) == get_args(orders.Order)
    assert [*get_args(Order)] == ["left-to-right", "random", *orders.SCORES]
    assert [*orders.TIES] == [*orders.SCORES]
