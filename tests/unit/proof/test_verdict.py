"""Whether a cost exceeds a claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.proof.claim import Claim
from bpb_harness.proof.verdict import Costs, four_errors


def costs(coded, claim, *, variance=0.0, num_draws=0, further=(), scored=None, dtype="float32") -> Costs:
    coded, claim = np.array(coded, dtype=float), np.array(claim, dtype=float)
    return Costs(
        Claim(
            claim, np.full(len(claim), variance), num_draws, np.full(len(claim), num_draws - 1.0) if num_draws else None
        ),
        claim if scored is None else np.array(scored, dtype=float),
        coded,
        np.array(further, dtype=float).reshape(-1, len(coded)),
        num_tokens=100,
        dtype=dtype,
    )


def test_exact_lengths_agree_to_rounding():
    assert not costs([10.0, 10.009], [10.0, 10.0]).exceeds_claim()
    assert costs([10.0, 10.011], [10.0, 10.0]).exceeds_claim()
    assert not costs([10.0, 10.1], [10.0, 10.0], dtype="bfloat16").exceeds_claim()
    assert costs([10.0, 10.3], [10.0, 10.0], dtype="bfloat16").exceeds_claim()
    assert not costs([9.0, 9.0], [10.0, 10.0]).exceeds_claim()
    assert costs([math.nan, 1.0], [1.0, 1.0]).exceeds_claim()


def test_errors_of_masks_and_of_coding_are_combined():
    many = {"variance": 0.5, "num_draws": 10_000}
    assert not costs([102.0, 101.9], [100.0, 100.0], **many).exceeds_claim()
    assert costs([102.0, 102.1], [100.0, 100.0], **many).exceeds_claim()
    spread = [[98.0, 102.0], [102.0, 98.0]] * 500  # standard deviation of 2 each
    further = {"further": np.array(spread) + 4.0}
    assert not costs([105.0, 105.0], [100.0, 100.0], **further).exceeds_claim()
    assert costs([106.0, 106.0], [100.0, 100.0], **further).exceeds_claim()
    assert not costs([106.0, 106.0], [100.0, 100.0], variance=4.0, num_draws=1000, **further).exceeds_claim()


def test_few_draws_tell_less():
    """Two draws of a span say little of its variance: Student's quantile, not the normal one."""
    few = {"further": [[101.0]]}
    assert not costs([103.0 + 4.0], [100.0], **few).exceeds_claim()


def test_the_score_itself_is_one_draw_of_each_span():
    many = {"variance": 0.01, "num_draws": 1000}  # a draw varies by sqrt(10)
    assert not costs([112.0], [111.9], scored=[100.0], **many).exceeds_score()
    assert costs([113.0], [112.9], scored=[100.0], **many).exceeds_score()


def test_a_score_that_is_not_by_window_is_held_against_elsewhere():
    assert not replace(costs([113.0], [112.9]), scored_nats=None).exceeds_score()


def test_orders_by_predictions_may_cost_a_share_more_than_in_the_score():
    dearer = costs([109.0], [109.0], scored=[100.0])
    assert dearer.exceeds_score()
    assert not replace(dearer, order_share=0.1).exceeds_score()
    assert replace(costs([111.0], [111.0], scored=[100.0]), order_share=0.1).exceeds_score()
    assert replace(costs([109.0], [100.0]), order_share=0.1).exceeds_claim()  # that is in the batches of the file


def test_two_draws_allow_what_students_quantile_says():
    """One degree of freedom: the deviation of 100 and 101 is sqrt(1/2), and its quantile is in the thousands."""
    reach = four_errors(1.0) * math.sqrt(0.5)
    for share, exceeds in ((0.99, False), (1.01, True)):
        excess = share * (reach + 0.01)
        assert costs([100.0 + excess], [100.0], further=[[101.0 + excess]]).exceeds_claim() is exceeds


def test_bits():
    some = costs([math.log(2), 0.0], [0.0, math.log(4)], variance=math.log(2) ** 2 / 2, num_draws=8)
    assert some.coded_bits == pytest.approx(1.0)
    assert some.claimed_bits == pytest.approx(2.0)
    assert some.claim_stderr_bits == pytest.approx(1.0)
    assert some.draw_stderr_bits == 0.0
