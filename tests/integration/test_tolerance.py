"""``--tolerance`` with a network: how many passes a pilot asks for, and what is said of the interval that came out."""

import math

import pytest

from bpb_harness.errors import UsageError
from bpb_harness.evaluation import api as evaluation
from bpb_harness.evaluation.pilot import Pilot
from bpb_harness.terminal.score import describe
from tests.printed import words_of


@pytest.fixture(scope="module")
def tiny(one_block):
    return one_block


def test_a_tolerance_out_of_reach_says_what_a_pass_gives(tiny):
    with pytest.raises(UsageError, match=r"out of reach.*about [\d,]+ passes.*one pass gives \+- 0\.\d+"):
        evaluation.evaluate(tiny, limit=8, context_length=16, tolerance=1e-7, check_contract=False, device="cpu")


def test_pilot_draws_fix_the_number_of_passes_and_enter_no_total(tiny, monkeypatch):
    settings = {"limit": 8, "context_length": 32, "check_contract": False, "device": "cpu"}
    one = evaluation.evaluate(tiny, num_samples=1, **settings)
    tolerance = 1.2 * one.mc_stderr
    many = evaluation.evaluate(tiny, tolerance=tolerance, with_windows=True, with_tokens=True, **settings)
    number, pilot = int(many.signature.passes), 32 * 8 + 2 * 32
    assert number > 1
    assert many.num_forward_tokens == number * one.num_forward_tokens + pilot * 32
    assert "320 pilot draws, which enter no total" in words_of(describe(many))
    low, high = many.ci95
    assert (high - low) / 2 <= tolerance
    assert many.windows["bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert many.tokens["share_bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert len(many.windows["move_chance"][0]) == number
    # The same number of passes by another pilot gives the same score, to the last bit: nothing of it enters.
    monkeypatch.setattr(Pilot, "variance_of_a_pass", lambda *_: 1.0)
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: number)
    again = evaluation.evaluate(tiny, tolerance=5 * tolerance, **settings)
    assert again.length.nats == many.length.nats
    assert again.mc_stderr == many.mc_stderr


def test_an_interval_that_came_out_wider_is_named(tiny, monkeypatch):
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: 2)
    result = evaluation.evaluate(tiny, tolerance=0.001, limit=4, context_length=16, check_contract=False, device="cpu")
    assert result.signature.passes == "2"
    assert "half of the 95 % interval came out at " in words_of(describe(result))
    assert "wider than --tolerance 0.001" in words_of(describe(result))
