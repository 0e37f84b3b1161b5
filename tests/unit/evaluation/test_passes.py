"""Passes until a tolerance is met, and the error of their mean."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from bpb_harness.cli.eval import describe
from bpb_harness.errors import UsageError
from bpb_harness.estimators import ContinuousBound, DiscreteBound
from bpb_harness.evaluation import api as evaluation
from bpb_harness.evaluation.batches import DrawPlan
from bpb_harness.evaluation.draws import DrawTable, merge_passes
from bpb_harness.evaluation.passes import larger_for_long_text
from bpb_harness.evaluation.pilot import Pilot, PilotPlan
from bpb_harness.evaluation.totals import SamplingError, as_statistics, sampling_error
from bpb_harness.schedule import LogLinear
from bpb_harness.statistics.standard_errors import mc_stderr_nats

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
    merged = merge_passes(tables)
    draws = as_statistics(BOUND, merged, np.full(n, L), np.full(n, 3 * L), np.arange(n), 1024)
    totals = [float((0.999 * L * table.nats / table.num_masked).sum()) for table in tables]
    return sampling_error(BOUND, merged, draws, count), draws, totals


def test_one_pass_takes_its_error_from_within():
    error, draws, _ = error_of(1)
    assert error == SamplingError(mc_stderr_nats(draws))


def test_several_passes_show_their_error_themselves():
    """The noise of one draw is 0.3 nats a token: 40 windows of 32 tokens, and their own heights are no error."""
    error, _, _ = error_of(6)
    assert error.stderr_nats == pytest.approx(0.3 * L * math.sqrt(N / 6), rel=0.15)
    assert 20 < error.degrees_of_freedom <= N * 5
    tall, _, _ = error_of(6, n=400)
    assert tall.stderr_nats == pytest.approx(0.3 * L * math.sqrt(400 / 6), rel=0.06)


def test_of_few_windows_the_passes_differ_by_the_curve_too():
    error, _, totals = error_of(9, n=5)
    assert error.stderr_nats == pytest.approx(np.std(totals, ddof=1) / 3)
    assert 1.0 <= error.degrees_of_freedom <= 8
    assert error.half_width_nats() == pytest.approx(stats.t.ppf(0.975, error.degrees_of_freedom) * error.stderr_nats)


def test_the_error_falls_with_the_root_of_the_passes():
    few, many = (error_of(count)[0].stderr_nats for count in (4, 64))
    assert 3.2 < few / many < 4.8


def test_no_error_needs_no_interval():
    assert SamplingError(0.0).half_width_nats() == 0.0


@pytest.fixture(scope="module")
def tiny(repository):
    return repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


def test_a_tolerance_out_of_reach_says_what_a_pass_gives(tiny):
    with pytest.raises(UsageError, match=r"out of reach.*about [\d,]+ passes.*one pass gives \+- 0\.\d+"):
        evaluation.evaluate(tiny, limit=8, tolerance=1e-7, check_contract=False, device="cpu")


def test_pilot_draws_fix_the_number_of_passes_and_enter_no_total(tiny, monkeypatch):
    settings = {"limit": 8, "check_contract": False, "device": "cpu"}
    one = evaluation.evaluate(tiny, num_samples=1, **settings)
    tolerance = one.mc_stderr * 0.5
    many = evaluation.evaluate(tiny, tolerance=tolerance, with_windows=True, with_tokens=True, **settings)
    passes, pilot = int(many.signature.passes), 32 * 8 + 2 * 32
    assert passes > 1
    assert many.num_forward_tokens == passes * one.num_forward_tokens + pilot * 128
    assert "320 pilot draws, which enter no total" in describe(many)
    low, high = many.ci95
    assert (high - low) / 2 <= tolerance
    assert many.windows["bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert many.tokens["bits"].sum() == pytest.approx(many.length.nats / math.log(2), rel=1e-9)
    assert len(many.windows["move_chance"][0]) == passes
    # The same number of passes by another pilot gives the same score, to the last bit: nothing of it enters.
    monkeypatch.setattr(Pilot, "variance_of_a_pass", lambda *_: 1.0)
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: passes)
    again = evaluation.evaluate(tiny, tolerance=5 * tolerance, **settings)
    assert again.length.nats == many.length.nats
    assert again.mc_stderr == many.mc_stderr


def test_an_interval_that_came_out_wider_is_named(tiny, monkeypatch):
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: 2)
    result = evaluation.evaluate(tiny, tolerance=0.001, limit=4, check_contract=False, device="cpu")
    assert result.signature.passes == "2"
    assert "note: half of the 95 % interval came out at " in describe(result)
    assert "wider than --tolerance 0.001" in describe(result)


@pytest.mark.parametrize("samples", [1, 2, "all"])
def test_the_pilot_is_no_larger_than_it_need_be(samples):
    lengths = np.append(np.full(30_000, 64), 20)
    bound = DiscreteBound(LogLinear(), samples, 8)
    plan = PilotPlan.of(bound, 0, np.arange(30_001), lengths)
    assert len(plan.passes) == 2
    assert len(plan.windows) == (32 if samples == "all" else 468)
    assert all(part.index >= 1 << 31 for part in plan.passes + plan.ends)
    assert len({part.index for part in plan.passes + plan.ends}) == len(plan.passes + plan.ends)
    assert plan.num_tokens(lengths) < 0.08 * lengths.sum()
    if samples == "all":
        assert plan.ends == ()
        return
    low, high = plan.ends
    assert plan.end_probability == 4 / 64
    assert (low.plan.position <= 4 / 64).all()
    assert ((high.plan.position >= 1 - 4 / 64) & (high.plan.position <= 1)).all()
    assert len(np.unique(low.plan.window)) == 32


def test_short_windows_have_no_ends():
    plan = PilotPlan.of(BOUND, 0, np.arange(3), np.full(3, 15))
    assert plan.ends == ()
    assert len(plan.passes) == 32


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
