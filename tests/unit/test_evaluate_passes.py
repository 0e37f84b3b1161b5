"""Passes until a tolerance is met, and the error of their mean."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import bpb_harness.evaluate as evaluation
from bpb_harness.errors import UsageError
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluate.batches import DrawPlan
from bpb_harness.evaluate.draws import DrawTable
from bpb_harness.evaluate.totals import FEWEST_PASSES, SamplingError, as_statistics, sampling_error
from bpb_harness.schedule import LogLinear
from bpb_harness.statistics import mc_stderr_nats

BOUND = ContinuousBound(LogLinear(1e-3), 1)
N, L = 40, 32


def made_up_pass(seed):
    """A pass whose draws are a curve of the mask rate plus noise."""
    rng = np.random.default_rng(seed)
    position = (rng.permutation(N) + rng.random(N)) / N
    plan = DrawPlan(np.arange(N), np.zeros(N, np.int64), position, position * 0.999, np.full(N, 0.999))
    num_masked = np.maximum((position * L).astype(np.int64), 1)
    nats = num_masked * (1.0 + 3.0 * position + rng.normal(0.0, 0.3, N))
    return DrawTable(plan, num_masked, nats, np.zeros(N))


def error_of(count):
    tables = [made_up_pass(seed) for seed in range(count)]
    lengths, num_bytes = np.full(N, L), np.full(N, 3 * L)
    draws = [as_statistics(BOUND, table, lengths, num_bytes, np.arange(N), 1024) for table in tables]
    totals = [float((0.999 * L * table.nats / table.num_masked).sum()) for table in tables]
    return sampling_error(BOUND, tables, draws, totals), draws, totals


def test_few_passes_take_their_errors_from_within():
    error, draws, _ = error_of(3)
    assert error.degrees_of_freedom is None
    assert error.stderr_nats == pytest.approx(math.sqrt(sum(mc_stderr_nats(draw) ** 2 for draw in draws)) / 3)


def test_many_passes_take_it_from_between():
    error, _, totals = error_of(FEWEST_PASSES)
    assert error.stderr_nats == pytest.approx(np.std(totals, ddof=1) / math.sqrt(FEWEST_PASSES))
    assert error.half_width_nats() == pytest.approx(stats.t.ppf(0.975, FEWEST_PASSES - 1) * error.stderr_nats)
    assert replace(error, degrees_of_freedom=None).half_width_nats() < error.half_width_nats()


def test_both_errors_tell_of_the_same_spread():
    within, _, _ = error_of(FEWEST_PASSES - 1)
    between, _, _ = error_of(60)
    ratio = within.stderr_nats * math.sqrt(FEWEST_PASSES - 1) / (between.stderr_nats * math.sqrt(60))
    assert 0.7 < ratio < 1.4


def test_no_error_needs_no_interval():
    assert SamplingError(0.0).half_width_nats() == 0.0


@pytest.fixture(scope="module")
def tiny(repository):
    return repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


def test_a_tolerance_out_of_reach_says_what_a_pass_gives(tiny):
    with pytest.raises(UsageError, match=r"out of reach.*about [\d,]+ passes.*one pass gives \+- 0\.\d+"):
        evaluation.evaluate(tiny, limit=8, tolerance=1e-7, check_contract=False, device="cpu")


def test_more_passes_are_one_more_narrow_score(tiny):
    settings = {"limit": 8, "check_contract": False, "device": "cpu"}
    one = evaluation.evaluate(tiny, num_samples=1, **settings)
    many = evaluation.evaluate(tiny, tolerance=one.mc_stderr * 0.8, with_windows=True, with_tokens=True, **settings)
    passes = int(many.signature.passes)
    assert passes > 1
    assert many.num_forward_tokens == passes * one.num_forward_tokens
    low, high = many.ci95
    assert (high - low) / 2 <= one.mc_stderr * 0.8
    assert many.windows["bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert many.tokens["bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert len(many.windows["move_chance"][0]) == passes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": 0.0}, "--tolerance"),
        ({"tolerance": math.nan}, "--tolerance"),
        ({"tolerance": math.inf}, "--tolerance"),
        ({"tolerance": 0.01, "method": "chain"}, "--tolerance: got --method chain"),
        ({"resume": "draws", "method": "ar"}, "--resume: got --method ar"),
        ({"resume": "draws", "with_tokens": True}, "--resume keeps sums"),
    ],
)
def test_flags_that_do_not_go_together(settings, message):
    with pytest.raises(UsageError, match=message):
        evaluation.Settings(**settings)
