"""Passes until a tolerance is met, and the error of their mean."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import UsageError
from bpb_harness.estimators import ContinuousBound, DiscreteBound
from bpb_harness.evaluation import draw_store, passes, pilot
from bpb_harness.evaluation.batches import DrawPlan, DrawSource
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.passes import larger_for_long_text
from bpb_harness.evaluation.pilot import Pilot, PilotPlan
from bpb_harness.evaluation.sampled_bound import SampledBound, SamplingError, enumeration_error
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.result import UNTRUSTED_ERROR, Signature
from bpb_harness.sampling.design import MIN_WINDOWS_REPLICATED
from bpb_harness.schedule import LogLinear
from bpb_harness.statistics.repeats import MIN_STRATA
from bpb_harness.statistics.standard_errors import mc_stderr_nats
from bpb_harness.terminal.score import describe
from bpb_harness.text.corpus import Corpus, load_shards
from bpb_harness.text.spans import blocks
from tests.printed import words_of
from tests.spans import end_to_end

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


def layout_of(lengths):
    windows = end_to_end(lengths)
    return Layout(windows, len(lengths), 3 * lengths, counts_bytes=True, difficulty=np.arange(len(lengths)))


def error_of(count, n=N):
    tables = [made_up_pass(seed, n) for seed in range(count)]
    sampled = SampledBound(BOUND, layout_of(np.full(n, L)), 1024, tables)
    totals = [float((0.999 * L * table.nats / table.num_masked).sum()) for table in tables]
    return sampled.error, sampled.draws, totals


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


def test_the_error_of_an_enumeration_at_drawn_levels():
    assert enumeration_error(None, None, 3) == SamplingError(0.0)
    assert enumeration_error(np.zeros(2), np.zeros(2), 3) == SamplingError(0.0)
    error = enumeration_error(np.array([9.0, 16.0]), np.array([40.0, 60.0]), 3)
    assert error == SamplingError(5.0, 2 * 25.0**2 / 100.0)


def test_no_error_needs_no_interval():
    assert SamplingError(0.0).half_width_nats() == 0.0


class Small:
    """Logits of a position alone, on windows of 16 tokens."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, False

    def __init__(self, scale):
        self.table = scale * torch.cos(torch.arange(16.0)[:, None] + torch.arange(512.0))

    def logits(self, xt, level):
        return self.table[: xt.shape[1]].expand(*xt.shape, -1)


@pytest.fixture(scope="module")
def small(repository):
    """Scores a network in memory under some settings."""
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    text = EvaluationText(corpus, tokenizer, "--data")

    def scored(*, scale=2.0, **settings):
        chosen = Settings(device="cpu", method="mc", check_contract=False, **settings)
        return score(Job(Small(scale), text, chosen, LogLinear(), ModelIdentity("0" * 64)))

    return scored


def test_nothing_that_the_pilot_drew_enters_the_score(small, monkeypatch):
    """Its costs are replaced: the score of as many passes stays the same, to the last bit."""
    settings = {"limit": 6, "tolerance": 1.0, "with_windows": True}
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: 3)
    plain = small(**settings)
    run_pilot = passes._Sampler.run_pilot

    def other_costs(*arguments):
        pilot = run_pilot(*arguments)
        tables, ends = (
            tuple(replace(table, nats=table.nats * 1.5 + 1.0) for table in drawn)
            for drawn in (pilot.sampled.passes, pilot.end_tables)
        )
        return replace(pilot, sampled=replace(pilot.sampled, passes=tables), end_tables=ends)

    monkeypatch.setattr(passes._Sampler, "run_pilot", other_costs)
    other = small(**settings)
    assert (other.length.nats, other.mc_stderr, other.signature) == (
        plain.length.nats, plain.mc_stderr, plain.signature,
    )  # fmt: skip
    assert plain.signature.passes == "3"
    assert {len(rates) for rates in plain.windows["move_chance"]} == {3}


@pytest.mark.parametrize("number", [1, 2, 5])
def test_as_many_passes_are_drawn_as_the_pilot_says_whatever_comes_out(small, monkeypatch, number):
    """Not fewer where the interval is narrow before, not more where it is still too wide."""
    drawn = []
    run_pass = passes._Sampler.run_pass
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: number)
    monkeypatch.setattr(
        passes._Sampler, "run_pass", lambda self, index, *others: drawn.append(index) or run_pass(self, index, *others)
    )
    for tolerance in (1e-9, 1e9):
        small(tolerance=tolerance, limit=3)
    assert drawn == [*range(number), *range(number)]


def test_the_pilot_is_asked_for_half_an_interval_in_nats(small, monkeypatch):
    heard = []
    monkeypatch.setattr(Pilot, "num_passes", lambda self, *asked: heard.append(asked) or 1)
    result = small(tolerance=0.25, limit=4)
    ((half_width, variance, num_windows),) = heard
    assert half_width == pytest.approx(0.25 * math.log(2) * result.length.num_bytes)
    assert num_windows == 4
    assert variance > 0.0


def test_the_most_passes_are_ten_thousand(small, monkeypatch):
    settings = {"limit": 1, "tolerance": 0.5}
    assert passes.MAX_PASSES == 10_000
    monkeypatch.setattr(passes, "MAX_PASSES", 2)
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: 2)
    assert small(**settings).signature.passes == "2"
    monkeypatch.setattr(Pilot, "num_passes", lambda *_: 3)
    with pytest.raises(UsageError, match=r"out of reach: got 0.5 bits per byte, about 3 passes, expected at most 2 "):
        small(**settings)


DOUBT = "1 of 4 masks cost 30 times what others do, and so few decide it"


@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_a_doubt_is_said_wherever_the_error_is(small, monkeypatch, tolerance):
    heard = []

    def doubts(sample, **others):
        heard.append((sample, others))
        return DOUBT

    monkeypatch.setattr(passes, "reason_to_doubt", doubts)
    settings = {"limit": 4, "num_samples": 1, "tolerance": tolerance}
    result = small(**settings)
    ((sample, others),) = heard
    assert [remark.message for remark in result.remarks if remark.code == UNTRUSTED_ERROR] == [
        f"WARNING: the error is not to be trusted: {DOUBT}"
    ]
    assert ", not to be trusted" in str(result)
    assert f"WARNING the error is not to be trusted: {DOUBT}" in words_of(describe(result))
    assert len(sample) == 4 * int(result.signature.passes or 1)
    low, high = result.ci95
    assert others["half_width"] == pytest.approx(
        (high - low) / 2 * math.log(2) * result.length.num_bytes / result.length.num_tokens
    )
    assert others["blind_nats"] == pytest.approx(math.log(512))
    assert others["lengths"].tolist() == [16] * 4
    assert (others["pilot"] is None, len(others["ends"])) == ((True, 0) if tolerance is None else (False, 2))
    monkeypatch.setattr(passes, "reason_to_doubt", lambda *_, **__: None)
    trusted = small(**settings)
    assert "not to be trusted" not in str(trusted) + describe(trusted)


def test_a_network_that_guesses_blindly_gives_an_error_that_is_doubted(small):
    """All masks cost the same: which of them cost more, so few draws cannot tell."""
    for limit, is_doubted in ((3, True), (200, False)):
        result = small(limit=limit, num_samples=1, scale=0.0)
        said = [remark.message for remark in result.remarks if remark.code == UNTRUSTED_ERROR]
        assert bool(said) is is_doubted
        assert ("not to be trusted" in str(result)) is is_doubted
        assert not said or said[0].startswith(
            "WARNING: the error is not to be trusted: all 3 masks cost the same, which says nothing of the others"
        )


@pytest.mark.parametrize("samples", [1, 2, "all"])
def test_the_pilot_is_no_larger_than_it_need_be(samples):
    lengths = np.append(np.full(30_000, 64), 20)
    bound = DiscreteBound(LogLinear(), samples, 8)
    plan = PilotPlan.of(bound, 0, layout_of(lengths))
    assert len(plan.passes) == 2
    assert len(plan.windows) == (32 if samples == "all" else 468)
    assert all(part.index >= 1 << 31 for part in plan.passes + plan.ends)
    assert len({part.index for part in plan.passes + plan.ends}) == len(plan.passes + plan.ends)
    source = DrawSource(Corpus("text", "0" * 64, int(lengths.sum())), end_to_end(lengths), LogLinear())
    assert plan.num_tokens(source) < 0.08 * lengths.sum()
    if samples == "all":
        assert plan.ends == ()
        return
    low, high = plan.ends
    assert plan.end_probability == 4 / 64
    assert (low.plan.position <= 4 / 64).all()
    assert ((high.plan.position >= 1 - 4 / 64) & (high.plan.position <= 1)).all()
    assert len(np.unique(low.plan.window)) == 32

    def drawn(part):
        return DrawTable(part.plan, *(np.ones(len(part.plan), kind) for kind in (np.int64, float, float)))

    pilot = Pilot.drawn(plan, layout_of(lengths), 1024, drawn)
    assert [costs.probability for costs in (*pilot.ends, pilot.costs)] == [4 / 64, 4 / 64, 1.0]


@pytest.mark.parametrize(
    ("num_samples", "num_windows", "per_window", "fewest"),
    [
        (1, MIN_WINDOWS_REPLICATED - 1, 1, 2), (1, MIN_WINDOWS_REPLICATED, 1, 1),
        (2, MIN_STRATA // 2 - 1, 2, 2), (2, MIN_STRATA // 2, 2, 1), (4, 1, 4, 2), (4, MIN_STRATA // 4, 4, 1),
        ("all", 1_000, 2, 2), ("all", 1, 3, 1), ("all", 1_000, 3, 1),
    ],
)  # fmt: skip
def test_one_pass_is_enough_where_it_shows_its_own_error(monkeypatch, num_samples, num_windows, per_window, fewest):
    asked: list[object] = []
    monkeypatch.setattr(pilot, "passes_for", lambda *given, **more: asked.append((*given[2:], more["fewest"])) or 5)
    sampled = SimpleNamespace(passes=[SimpleNamespace(plan=range(7 * per_window))], spread=None)
    plan = SimpleNamespace(bound=SimpleNamespace(num_samples=num_samples), windows=range(7))
    found = Pilot(plan, sampled, ())  # type: ignore[arg-type]
    assert found.num_passes(1.0, 2.0, num_windows) == 5
    assert asked == [(2.0, num_windows, per_window, fewest)]


def test_short_windows_have_no_ends():
    plan = PilotPlan.of(BOUND, 0, layout_of(np.full(3, 15)))
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
        Settings(**settings)


@pytest.mark.parametrize(("text", "batch"), [(1_000, 100), (6_399, 100), (6_400, 200), (1_000_000, 200)])
def test_long_texts_get_larger_batches_if_many_are_left(text, batch):
    assert larger_for_long_text(100, text) == batch


@pytest.mark.parametrize(("multiprocessors", "windows"), [(132, 66), (108, 54)])
def test_a_batch_comes_out_even_on_a_gpu(monkeypatch, multiprocessors, windows):
    card = SimpleNamespace(multi_processor_count=multiprocessors)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    settings = Settings()
    assert settings.tokens_per_batch(torch.device("cuda")) == windows * 2048
    assert settings.tokens_per_batch(torch.device("cpu")) == 8_192
    assert Settings(batch_tokens=77).tokens_per_batch(torch.device("cuda")) == 77


@pytest.mark.parametrize(
    ("bounds", "steps"),
    [
        ((BOUND,), None),
        ((DiscreteBound(LogLinear(), 1, 9),), "9"),
        ((BOUND, DiscreteBound(LogLinear(), 1, 9)), "9"),
        ((SimpleNamespace(num_steps=7),), "7"),  # a method to come
    ],
)
def test_draws_are_kept_under_the_steps_of_whatever_bound_has_steps(bounds, steps):
    assert draw_store._drawn(SimpleNamespace(bounds=bounds), Signature(method="x", num_steps="1")).num_steps == steps


def test_the_pilot_takes_all_blocks_of_a_window_or_none():
    """Where a call takes all of them at once, a block by itself would cost a whole window."""
    spans = blocks(0, 64 * 500, 64, 4)
    count = len(spans)
    plan = PilotPlan.of(ContinuousBound(LogLinear(), 1), 0, Layout(spans, count, spans.lengths, False, spans.starts))
    windows, found = np.unique(spans.context_starts[plan.windows], return_counts=True)
    assert set(found.tolist()) == {16}
    assert 128 <= len(plan.windows) <= 128 + 16
    assert windows[0] == 0
    assert windows[-1] > 0.8 * spans.ends[-1]
