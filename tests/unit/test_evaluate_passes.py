"""Passes until a tolerance is met, and the error of their mean."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

import bpb_harness.evaluate as evaluation
from bpb_harness.errors import UsageError
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluate.batches import DrawPlan
from bpb_harness.evaluate.draws import DrawTable
from bpb_harness.evaluate.passes import larger_for_long_text
from bpb_harness.evaluate.totals import FEWEST_PASSES, SamplingError, as_statistics, sampling_error
from bpb_harness.schedule import LogLinear
from bpb_harness.statistics import mc_stderr_nats

BOUND = ContinuousBound(LogLinear(1e-3), 1)
N, L = 40, 32


def made_up_pass(seed, n=N):
    """A pass whose draws are a curve of the mask rate, plus what is the window's own, plus noise."""
    rng = np.random.default_rng(seed)
    position = (rng.permutation(n) + rng.random(n)) / n
    plan = DrawPlan(np.arange(n), np.zeros(n, np.int64), position, position * 0.999, np.full(n, 0.999))
    num_masked = np.maximum((position * L).astype(np.int64), 1)
    own = np.random.default_rng(99).normal(0.0, 0.3, n) if n > N else 0.0
    nats = num_masked * (1.0 + 3.0 * position + own + rng.normal(0.0, 0.3, n))
    return DrawTable(plan, num_masked, nats, np.zeros(n))


def error_of(count, n=N):
    tables = [made_up_pass(seed, n) for seed in range(count)]
    lengths, num_bytes = np.full(n, L), np.full(n, 3 * L)
    draws = [as_statistics(BOUND, table, lengths, num_bytes, np.arange(n), 1024) for table in tables]
    totals = [float((0.999 * L * table.nats / table.num_masked).sum()) for table in tables]
    return sampling_error(BOUND, tables, draws, totals), draws, totals


def test_few_passes_take_their_errors_from_within():
    error, draws, _ = error_of(3)
    assert error.degrees_of_freedom is None
    assert error.stderr_nats == pytest.approx(math.sqrt(sum(mc_stderr_nats(draw) ** 2 for draw in draws)) / 3)


def test_passes_over_many_windows_are_each_others_replicates():
    """What is the window's own, half of the residuals' variance here, is no error: 0.71 of the error without."""
    error, draws, _ = error_of(3, n=400)
    paired = [replace(draw, replicates=draws[(index + 1) % 3]) for index, draw in enumerate(draws)]
    assert error.stderr_nats == pytest.approx(math.sqrt(sum(mc_stderr_nats(draw) ** 2 for draw in paired)) / 3)
    alone = math.sqrt(sum(mc_stderr_nats(draw) ** 2 for draw in draws)) / 3
    assert 0.6 < error.stderr_nats / alone < 0.82


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


@pytest.mark.parametrize(("text", "batch"), [(1_000, 100), (6_399, 100), (6_400, 200), (1_000_000, 200)])
def test_long_texts_get_larger_batches_if_many_are_left(text, batch):
    assert larger_for_long_text(100, text) == batch


@pytest.mark.parametrize(("multiprocessors", "windows"), [(132, 66), (108, 54)])
def test_a_batch_comes_out_even_on_a_gpu(monkeypatch, multiprocessors, windows):
    card = SimpleNamespace(multi_processor_count=multiprocessors)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    settings = evaluation.Settings()
    assert settings.tokens_per_batch(torch.device("cuda")) == windows * 2048
    assert settings.tokens_per_batch(torch.device("cpu")) == 8_192
    assert evaluation.Settings(batch_tokens=77).tokens_per_batch(torch.device("cuda")) == 77
