"""Batches of draws, the device's side, and tables that do not depend on how they were computed."""

import inspect
import math
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bpb_harness.distributed import Processes
from bpb_harness.errors import HarnessError, NumericsError
from bpb_harness.estimators import ChainRule, ContinuousBound, DiscreteBound
from bpb_harness.evaluation import compare, sampled_bound
from bpb_harness.evaluation import draws as draws_module
from bpb_harness.evaluation.batches import DrawPlan, DrawSource, deal_draws, in_micro_batches, prepare_ahead
from bpb_harness.evaluation.draws import DrawTable, FinishedDraws, merge_passes, plan_draws, run_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.evaluation.span_scores import score_spans
from bpb_harness.kernels import specialising
from bpb_harness.network_call import InputWatch
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from bpb_harness.statistics.standard_errors import mc_stderr_nats
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.document_pieces import Stretches, document_pieces
from tests.shards import write_shard
from tests.spans import windows_of
from tests.threads_as_processes import run_together
from tests.tiers import some_of

SCHEDULE = LogLinear(1e-3)
CPU = torch.device("cpu")
L, V = 16, 11


class Network(nn.Module):
    """A small bidirectional denoiser, conditioned on the noise, with a wider head than its vocabulary."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, True

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(V + 1, 24)
        self.mix = nn.Linear(24, 24)
        self.out = nn.Linear(24, V + 5)
        self.requires_grad_(False)

    def trunk(self, xt, level):
        x = self.embedding(xt)
        return torch.tanh(self.mix(x + x.mean(dim=1, keepdim=True) + level.sigma.float()[:, None, None]))

    def logits(self, xt, level):
        return self.out(self.trunk(xt, level))


class Factored(Network):
    def hidden(self, xt, level):
        return self.trunk(xt, level)

    def head(self, hidden):
        return self.out(hidden)


@pytest.fixture
def source(tmp_path):
    """37 whole windows and a shorter one."""
    corpus = load_shards([write_shard(tmp_path / "a.bin", np.random.default_rng(0).integers(0, V, 37 * L + 5))])
    return DrawSource(corpus, windows_of(corpus, L), SCHEDULE)


@pytest.fixture
def plan(source):
    return plan_of(source, ContinuousBound(SCHEDULE, 2))


def plan_of(source, bound, pass_index=0):
    count = len(source.spans)
    return plan_draws(bound, count, StratifiedDesign(RandomStreams(5, pass_index), np.arange(count), bound.num_samples))


def run(source, plan, denoiser=None, *, batch_rows=8, runner=None, **kwargs):
    runner = runner or MaskedNllRunner(denoiser or Factored(), CPU)
    return run_draws(runner, source, plan, RandomStreams(5), device=CPU, batch_tokens=batch_rows * L, **kwargs)


def nats_by_hand(network, source, plan, row):
    """One draw alone, in float64 and plain Python."""
    window, sample = int(plan.window[row]), int(plan.sample[row])
    start, length = int(source.spans.starts[window]), int(source.spans.lengths[window])
    x0 = torch.from_numpy(source.corpus.read(start, start + length))
    target, noise = RandomStreams(5).mask_noise(window, sample, length)
    masked = [bool(noise[i] < plan.mask_rate[row]) or i == target for i in range(length)]
    xt = torch.tensor([[V if m else int(t) for m, t in zip(masked, x0, strict=True)]])
    level = SCHEDULE.level_at(torch.tensor([plan.mask_rate[row]]))
    logits = network.double().trunk(xt, type(level)(level.t, level.alpha_t, level.dalpha_t))
    logits = network.out(logits)[0, :, :V]
    return sum(float(torch.logsumexp(logits[i], 0) - logits[i, x0[i]]) for i in range(length) if masked[i]), sum(masked)


def test_each_draw_is_what_it_is_by_hand(source, plan):
    table = run(source, plan)
    for row in (0, 7, 40, len(plan) - 1):
        nats, count = nats_by_hand(Network(), source, plan, row)
        assert table.nats[row] == pytest.approx(nats, rel=1e-6)
        assert table.num_masked[row] == count


@pytest.mark.parametrize("kind", [Network, Factored])
def test_totals_do_not_depend_on_the_batch_size(source, plan, kind):
    tables = [run(source, plan, kind(), batch_rows=rows) for rows in (1, 3, 8)]
    for table in tables[1:]:
        np.testing.assert_array_equal(table.num_masked, tables[0].num_masked)
        np.testing.assert_allclose(table.nats, tables[0].nats, rtol=1e-6)


class Stateless(Factored):
    is_stateless = True


def test_two_batches_are_in_a_network_at_once_only_if_it_says_that_it_keeps_nothing():
    gpu = torch.device("cuda")
    assert MaskedNllRunner(Stateless(), gpu).num_streams == 2
    assert MaskedNllRunner(Stateless(), CPU).num_streams == 1
    for silent in (Factored(), Network()):
        assert MaskedNllRunner(silent, gpu).num_streams == 1


def test_one_batch_at_a_time_once_memory_was_short(monkeypatch):
    stats = {"num_alloc_retries": 3}
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda device: stats)
    retried, halved = (MaskedNllRunner(Stateless(), torch.device("cuda")) for _ in range(2))
    assert retried.num_streams == 2
    halved._fitting.largest = 4
    assert (halved.num_streams, retried.num_streams) == (1, 2)
    stats["num_alloc_retries"] += 1
    assert retried.num_streams == 1


@pytest.mark.parametrize(("kind", "expected"), [(Factored, 70), (Stateless, 35)])
def test_rows_that_fit_leave_room_for_every_batch_that_is_in_the_network(source, plan, monkeypatch, kind, expected):
    """Two rows take 200 bytes of the 10,000 that are free, 1,000 of them kept by the allocator."""
    runner = MaskedNllRunner(kind(), torch.device("cuda"))
    probe = source.prepare(plan, RandomStreams(5), np.arange(2))
    monkeypatch.setattr(runner, "row_nats", lambda prepared: None)
    for name, value in {
        "synchronize": None, "reset_peak_memory_stats": None, "memory_allocated": 500, "max_memory_allocated": 700,
        "mem_get_info": (9_000, 20_000), "memory_reserved": 1_500, "memory_stats_as_nested_dict": {},
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert runner.rows_that_fit(probe, 1_000) == expected
    assert runner.rows_that_fit(probe, 8) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("keep_tokens", [False, True])
def test_totals_do_not_depend_on_the_streams_that_batches_take_turns_on(source, plan, keep_tokens):
    gpu, used, tables = torch.device("cuda"), [], []
    for kind in (Factored, Stateless):
        network, streams = kind().to(gpu), []

        def trunk(xt, level, network=network, streams=streams):
            streams.append(torch.cuda.current_stream().cuda_stream)
            if len(streams) % 3:
                torch.cuda._sleep(5_000_000)  # some milliseconds, in which what does not wait comes too early
            return Factored.trunk(network, xt, level)

        network.trunk = trunk
        runner = MaskedNllRunner(network, gpu)
        tables.append(
            run_draws(runner, source, plan, RandomStreams(5), device=gpu, batch_tokens=4 * L, keep_tokens=keep_tokens)
        )
        used.append(streams)
    assert len(set(used[0])) == 1
    assert len(set(used[1])) == (1 if keep_tokens else 2)
    assert used[1][::2] == used[1][:1] * len(used[1][::2])
    np.testing.assert_array_equal(tables[1].nats, tables[0].nats)
    if keep_tokens:
        np.testing.assert_array_equal(tables[1].token_nats, tables[0].token_nats)
        return
    seen = set(streams)
    run_draws(runner, source, plan, RandomStreams(6), device=gpu, batch_tokens=4 * L)  # another pass
    assert set(streams) == seen


def test_packed_positions_give_what_all_positions_give(source, plan):
    np.testing.assert_allclose(run(source, plan, Factored()).nats, run(source, plan, Network()).nats, rtol=1e-6)


def test_batches_hold_every_draw_once_and_the_same_mixture_of_rates(source):
    rng = np.random.default_rng(1)
    lengths = np.array([L] * 200 + [5] * 3)
    rates = rng.random(203)
    dealt = deal_draws(lengths, rates, 16 * L)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(203))
    assert all(len({int(n) for n in lengths[rows]}) == 1 for rows in dealt)
    whole = [rows for rows in dealt if lengths[rows[0]] == L]
    assert max(map(len, whole)) <= 16
    sums = [rates[rows].mean() for rows in whole]
    assert max(sums) - min(sums) < 1.5 / 16
    in_order = [rates[start : start + 16].mean() for start in range(0, 200, 16)]
    assert max(sums) - min(sums) < (max(in_order) - min(in_order)) / 2


def test_a_part_of_a_batch_is_the_batch_of_its_rows(source, plan):
    whole = source.prepare(plan, RandomStreams(5), np.arange(10))
    part, alone = whole.part(3, 7), source.prepare(plan, RandomStreams(5), np.arange(3, 7))
    for name in ("x0", "masked", "positions"):
        assert torch.equal(getattr(part, name), getattr(alone, name)), name
    assert torch.equal(part.level.alpha_t, alone.level.alpha_t)
    np.testing.assert_array_equal(part.num_masked, alone.num_masked)


def test_the_first_batch_comes_in_pieces_of_two_rows_or_more():
    batches = [np.arange(3, 14), np.arange(14, 25)]
    micro_batches, whole = in_micro_batches(batches)
    assert [len(micro_batch) for micro_batch in micro_batches] == [3, 3, 3, 2]
    np.testing.assert_array_equal(np.concatenate(micro_batches), batches[0])
    assert len(whole) == 1
    np.testing.assert_array_equal(whole[0], batches[1])
    assert [[len(micro_batch) for micro_batch in batch] for batch in in_micro_batches([np.arange(7)])] == [[7]]
    assert in_micro_batches([]) == []


def rows_in_network(source, plan, **kwargs):
    """The rows of each call of the network, 16 or fewer."""
    seen = []
    table = run(source, plan, keep=lambda done: seen.append(done.rows.tolist()), batch_rows=16, **kwargs)
    return seen, table


@pytest.fixture
def dealt(source, plan):
    """The micro_batches of the first batch, and the other batches."""
    batches = in_micro_batches(deal_draws(source.spans.lengths[plan.window], plan.mask_rate, 16 * L))
    assert len(batches[0]) == 4
    return [[rows.tolist() for rows in micro_batches] for micro_batches in batches]


def test_draws_go_through_the_network_in_the_batches_that_are_dealt(source, plan, dealt):
    seen, table = rows_in_network(source, plan)
    assert seen == [rows for micro_batches in dealt for rows in micro_batches]
    assert table.num_forward_tokens == source.spans.lengths[plan.window].sum()


def test_a_continued_run_has_the_batches_of_one_that_was_never_stopped(source, plan, dealt):
    kept = []
    whole = run(source, plan, keep=kept.append, batch_rows=16)
    for num_kept in (2, 4, 5):
        seen, table = rows_in_network(source, plan, finished=kept[:num_kept])
        assert seen == [rows for micro_batches in dealt for rows in micro_batches][num_kept:]
        np.testing.assert_array_equal(table.nats, whole.nats)
        assert table.num_kept == sum(len(done.rows) for done in kept[:num_kept])


def test_a_batch_stays_with_one_process(source, plan, dealt):
    class Alone:
        """One of two processes; what the other says is made up."""

        count = 2

        def __init__(self, rank):
            self.rank, self.is_first = rank, rank == 0
            self.deal = Processes(rank, 2).deal

        def together(self, work):
            others = np.concatenate([rows for micro_batches in dealt[1 - self.rank :: 2] for rows in micro_batches])
            ones = np.ones(len(others))
            return [work(), [FinishedDraws(others, ones, ones.astype(np.int64), ones)]]

    for rank in range(2):
        seen, _ = rows_in_network(source, plan, processes=Alone(rank))
        assert seen == [rows for micro_batches in dealt[rank::2] for rows in micro_batches]


class Counted(Factored):
    """A network that counts its batches, and before the first waits for what it is told to."""

    def __init__(self, wait=lambda: None):
        super().__init__()
        self.wait, self.batches = wait, 0

    def hidden(self, xt, level):
        if self.batches == 0:
            self.wait()
        self.batches += 1
        return super().hidden(xt, level)


def test_a_slow_device_takes_fewer_batches_and_the_total_stays(source, plan, monkeypatch):
    alone = run(source, plan, batch_rows=2)
    dealt = sum(map(len, source.deal(plan, 2 * L)))
    most = 4  # what it holds when the others are done with all the rest: one that it scores, those made ahead

    def until_the_others_are_done():
        deadline = time.monotonic() + 500
        while sum(network.batches for network in networks[:7]) < dealt - most:
            assert time.monotonic() < deadline, "the others leave more to it"
            time.sleep(0.001)

    networks = [Counted() for _ in range(7)] + [Counted(until_the_others_are_done)]

    def work(processes):
        return run(source, plan, networks[processes.rank], batch_rows=2, processes=processes)

    for table in run_together(monkeypatch, 8, work):
        assert table.nats.tolist() == alone.nats.tolist()
        assert table.control.tolist() == alone.control.tolist()
        assert table.num_masked.tolist() == alone.num_masked.tolist()
        assert table.num_forward_tokens == alone.num_forward_tokens
    assert networks[7].batches <= most
    assert sum(network.batches for network in networks) == dealt > 30


def test_one_thread_prepares_a_few_batches_ahead(source, plan):
    batches = deal_draws(source.spans.lengths[plan.window], plan.mask_rate, 2 * L)
    threads, prepare = [], source.prepare

    class Watched:
        def prepare(self, *args):
            threads.append(threading.get_ident())
            return prepare(*args)

    ready = prepare_ahead(Watched(), plan, RandomStreams(5), batches, pin_memory=False)
    for taken in range(1, 6):
        next(ready)
        assert len(threads) <= taken + 3
    assert sum(1 for _ in ready) == len(batches) - 5
    assert len(set(threads)) == 1 != threading.get_ident()


def test_batches_prepared_ahead_come_in_order(source, plan):
    dealt = deal_draws(source.spans.lengths[plan.window], plan.mask_rate, 4 * L)
    ready = prepare_ahead(source, plan, RandomStreams(5), dealt, pin_memory=False)
    for rows, prepared in zip(dealt, ready, strict=True):
        np.testing.assert_array_equal(rows, prepared.rows)


def test_the_thread_that_prepares_has_ended_when_a_network_fails(source, plan, monkeypatch):
    """Not when garbage is collected, which may be in that thread: it cannot wait for its own end."""
    made = []
    monkeypatch.setattr(
        draws_module, "prepare_ahead", lambda *args, **kwargs: made.append(prepare_ahead(*args, **kwargs)) or made[0]
    )

    class Broken(Factored):
        def hidden(self, xt, level):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        run(source, plan, runner=MaskedNllRunner(Broken(), CPU))
    assert [inspect.getgeneratorstate(batches) for batches in made] == [inspect.GEN_CLOSED], caught.traceback


def test_a_batch_that_does_not_fit_is_halved_and_says_so(source, plan, warned):
    class Small(Factored):
        def hidden(self, xt, level):
            if len(xt) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().hidden(xt, level)

    runner = MaskedNllRunner(Small(), CPU)
    table = run(source, plan, runner=runner)
    np.testing.assert_allclose(table.nats, run(source, plan).nats, rtol=1e-6)
    assert warned == [
        "bpb-eval: a batch of 7 windows does not fit into memory: going on with 4",
        "bpb-eval: a batch of 4 windows does not fit into memory: going on with 2",
    ]
    assert [remark.code for remark in runner.remarks] == ["batch-halved"] * 2


def test_one_window_that_does_not_fit_is_one_line(source, plan):
    class Tiny(Factored):
        def hidden(self, xt, level):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(NumericsError, match="one window alone does not fit"):
        run(source, plan, Tiny())


def test_an_exact_method_is_halved_too(source):
    class Small(Network):
        def logits(self, xt, level):
            if len(xt) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().logits(xt, level)

    estimator = ChainRule(SCHEDULE, RandomStreams(0), "left-to-right", 8)
    scored = [
        score_spans(
            estimator, network, source.corpus, source.spans, device=CPU, batch_tokens=8 * L, processes=Processes()
        )
        for network in (Network(), Small())
    ]
    np.testing.assert_allclose(scored[1].nats, scored[0].nats, rtol=1e-6)
    assert scored[1].num_forward_tokens == scored[0].num_forward_tokens
    assert [remark.code for remark in scored[1].remarks] == ["batch-halved"] * 2


@pytest.mark.parametrize("keep_tokens", [False, True])
@pytest.mark.parametrize("what", [math.nan, math.inf, -math.inf])
def test_nan_names_its_window(source, plan, what, keep_tokens):
    class Broken(Factored):
        def head(self, hidden):
            return super().head(hidden) * what

    with pytest.raises(NumericsError, match="score of window"):
        run(source, plan, Broken(), keep_tokens=keep_tokens)


def compiled_runner(source, plan, denoiser=None):
    runner = MaskedNllRunner(denoiser or Factored(), CPU, compiled=True)
    dealt = deal_draws(source.spans.lengths[plan.window], plan.mask_rate, 8 * L)
    runner.warm_up(source.prepare(plan, RandomStreams(5), dealt[0]))
    return runner


@pytest.fixture
def fresh_compiler(monkeypatch):
    monkeypatch.setattr(specialising, "_given_up", False)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_one_program_serves_all_batches(source, plan, monkeypatch, fresh_compiler):
    from torch._dynamo.testing import CompileCounter

    programs, compile_ = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=programs))
    runner = compiled_runner(source, plan)
    for rows in (8, 5, 3):  # and the last, shorter window, which runs uncompiled
        table = run(source, plan, runner=runner, batch_rows=rows)
        np.testing.assert_allclose(table.nats, run(source, plan).nats, rtol=1e-6)
    assert programs.frame_count == 2  # the trunk and the head
    assert [remark.code for remark in runner.remarks] == ["compiled"]


def test_what_is_not_compiled_is_alone_in_the_network(source, plan, monkeypatch, fresh_compiler):
    """Here the draws of the last, shorter window; nothing else is told to be finished before the end."""
    seen, finish = [], draws_module._Collection._finish

    class Streams:
        def __init__(self, device, count):
            assert (device, count) == (CPU, 2)

        def next(self, count):
            seen.append(f"at most {count}")
            return nullcontext()

    def finished(work):
        seen.append(len(work._in_flight))
        return finish(work)

    monkeypatch.setattr(torch, "compile", lambda function: function)
    runner = compiled_runner(source, plan)
    monkeypatch.setattr(draws_module._Collection, "_is_ready", lambda self, most: False)
    monkeypatch.setattr(draws_module._Collection, "_finish", finished)
    monkeypatch.setattr(draws_module, "CudaStreams", Streams)
    monkeypatch.setattr(MaskedNllRunner, "num_streams", 2)
    run(source, plan, runner=runner)
    others = sum(map(len, source.deal(plan, 8 * L))) - 1
    assert seen == ["at most 2"] * others + [*range(others, 0, -1), "at most 1", 1]


def test_a_network_that_cannot_be_compiled_runs_as_it_is(source, plan, monkeypatch, fresh_compiler):
    def refuse(function):
        def run_compiled(*arguments):
            raise RuntimeError("no compiler\nat all")

        return run_compiled

    monkeypatch.setattr(torch, "compile", refuse)
    runner = compiled_runner(source, plan)
    np.testing.assert_array_equal(run(source, plan, runner=runner).nats, run(source, plan).nats)
    assert [remark.code for remark in runner.remarks] == ["not-specialised", "not-compiled"]
    assert runner.remarks[-1].message.endswith("RuntimeError: no compiler")


def test_a_compiled_network_that_says_something_else_is_not_believed(source, plan, monkeypatch, fresh_compiler):
    monkeypatch.setattr(torch, "compile", lambda function: lambda *arguments: function(*arguments) * 1.01)
    runner = compiled_runner(source, plan)
    np.testing.assert_array_equal(run(source, plan, runner=runner).nats, run(source, plan).nats)
    assert "where the plain network gives" in runner.remarks[-1].message


def test_finished_draws_are_not_run_again(source, plan):
    kept: list[FinishedDraws] = []
    whole = run(source, plan, keep=kept.append)
    tokens = []
    again = run(source, plan, finished=kept[:3], advance=tokens.append)
    np.testing.assert_array_equal(again.nats, whole.nats)
    np.testing.assert_array_equal(again.num_masked, whole.num_masked)
    done = sum(len(part.rows) for part in kept[:3])
    assert tokens[0] == done * L
    assert sum(tokens) == int(source.spans.lengths[plan.window].sum())


def test_an_interruption_keeps_what_is_done(source, plan):
    class Interrupted(Factored):
        calls = 0

        def hidden(self, xt, level):
            self.calls += 1
            if self.calls > 3:
                raise KeyboardInterrupt
            return super().hidden(xt, level)

    kept: list[FinishedDraws] = []
    with pytest.raises(KeyboardInterrupt):
        run(source, plan, Interrupted(), keep=kept.append)
    dealt = deal_draws(source.spans.lengths[plan.window], plan.mask_rate, 8 * L)
    assert [part.rows.tolist() for part in kept] == [rows.tolist() for rows in dealt[:3]]
    np.testing.assert_array_equal(run(source, plan, finished=kept).nats, run(source, plan).nats)


def test_processes_share_without_duplicates():
    items = list(range(11))
    shares = [Processes(rank, 3).share(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items


def test_token_nats_add_up_to_the_window_bounds(source):
    plan = plan_of(source, DiscreteBound(SCHEDULE, 3, 16))
    table = run(source, plan, keep_tokens=True)
    scale = plan.weight * source.spans.lengths[plan.window]
    window_nats = np.bincount(plan.window, weights=scale * table.nats / table.num_masked)
    by_window = np.split(table.token_nats, np.cumsum(source.spans.lengths)[:-1])
    np.testing.assert_allclose([part.sum() for part in by_window], window_nats, atol=3 * L * 2.0**-33)


def test_merged_passes_weigh_each_pass_alike(source):
    bound = ContinuousBound(SCHEDULE, 2)
    tables = [run(source, plan_of(source, bound, index), keep_tokens=True) for index in range(3)]
    merged = merge_passes(tables)
    assert (np.diff(merged.plan.window) >= 0).all()
    assert merged.plan.sample[:6].tolist() == list(range(6))
    total = [float((t.plan.weight * t.nats / t.num_masked).sum()) for t in (merged, *tables)]
    assert total[0] == pytest.approx(np.mean(total[1:]), rel=1e-12)
    np.testing.assert_allclose(merged.token_nats, np.mean([table.token_nats for table in tables], axis=0))


@pytest.fixture
def long_source(tmp_path):
    """300 windows: enough for some to be drawn a second time."""
    corpus = load_shards([write_shard(tmp_path / "long.bin", np.random.default_rng(1).integers(0, V, 300 * L))])
    return DrawSource(corpus, windows_of(corpus, L), SCHEDULE)


def test_replicates_weigh_nothing_and_stay_behind_when_passes_are_merged(long_source):
    bound, count = ContinuousBound(SCHEDULE, 1), 300
    tables = [run(long_source, plan_of(long_source, bound, index), batch_rows=64) for index in range(2)]
    for table in tables:
        plan = table.plan
        assert (plan.num_weighed, plan.num_replicates) == (count, 128)
        assert (plan.weight[:count] > 0).all()
        assert not plan.weight[count:].any()
        assert plan.sample.tolist() == [0] * count + [1] * 128
        assert plan.window[:count].tolist() == list(range(count))
        assert not np.isclose(plan.position[plan.window[count:]], plan.position[count:]).any()
        assert table.nats.all()
    merged = merge_passes(tables).plan
    assert (merged.num_weighed, merged.num_replicates) == (2 * count, 256)
    assert merged.window[: 2 * count].tolist() == sorted(2 * list(range(count)))
    assert merged.sample[: 2 * count].tolist() == [0, 2] * count
    assert merged.sample[2 * count :].tolist() == [1, 3] * 128
    assert merged.weight[: 2 * count].sum() == pytest.approx(tables[0].plan.weight.sum())
    assert not merged.weight[2 * count :].any()


def without_replicates(table):
    plan, rows = table.plan, slice(table.plan.num_weighed)
    shorter = DrawPlan(
        *(column[rows] for column in (plan.window, plan.sample, plan.position, plan.mask_rate, plan.weight))
    )
    return DrawTable(shorter, table.num_masked[rows], table.nats[rows], table.control[rows])


def sampled(source, bound, table):
    lengths = source.spans.lengths
    return SampledBound(bound, Layout(source.spans, len(lengths), 2 * lengths, True, lengths), V, [table])


def test_totals_are_the_same_bits_without_replicates(long_source):
    bound = ContinuousBound(SCHEDULE, 1)
    table = run(long_source, plan_of(long_source, bound), batch_rows=64)
    tables = table, without_replicates(table)
    with_them, without = (sampled(long_source, bound, each) for each in tables)
    assert np.array_equal(with_them.window_nats, without.window_nats)
    curves = [compare._fit(each, each).at(np.array([0.2, 0.7]))[0] for each in (with_them, without)]
    assert np.array_equal(*curves)


def test_statistics_keep_replicates_apart(long_source):
    bound = ContinuousBound(SCHEDULE, 1)
    table = run(long_source, plan_of(long_source, bound), batch_rows=64)
    with_them = sampled(long_source, bound, table)
    draws = with_them.draws
    assert (len(draws.window), len(draws.replicates.window)) == (300, 128)
    assert sampled(long_source, bound, without_replicates(table)).draws.replicates is None
    np.testing.assert_allclose(draws.window_nats, with_them.window_nats, rtol=1e-12)
    assert mc_stderr_nats(draws) != mc_stderr_nats(replace(draws, replicates=None))


def test_an_error_of_the_network_is_not_taken_for_the_compilers(source, plan, monkeypatch, fresh_compiler):
    class Refusing(Factored):
        def hidden(self, xt, level):
            raise HarnessError("the network refuses")

    monkeypatch.setattr(torch, "compile", lambda function: function)
    with pytest.raises(HarnessError, match="the network refuses"):
        compiled_runner(source, plan, Refusing())


@pytest.mark.parametrize("at_once", [1, 3, 1024])
def test_tokens_of_windows_of_all_lengths_add_up_to_them_to_the_last_bit(monkeypatch, at_once):
    monkeypatch.setattr(sampled_bound, "_WINDOWS_AT_ONCE", at_once)
    generator = np.random.default_rng(3)
    lengths = generator.integers(1, 9, 10)
    window_nats, token_nats = generator.normal(size=10), generator.normal(size=int(lengths.sum()))
    bound = SampledBound(ContinuousBound(SCHEDULE, 1), SimpleNamespace(lengths=lengths), 8, [])
    window = np.repeat(np.arange(10), lengths)
    missing = window_nats - np.bincount(window, weights=token_nats)
    np.testing.assert_array_equal(bound._with_rest(window_nats, token_nats), token_nats + (missing / lengths)[window])


@pytest.mark.parametrize(
    ("by_stretches", "at_once", "count"),
    some_of([(True, 70, 3), (False, 1 << 22, 4), (False, 70, 3), (True, 1 << 22, 4)], everyday=2),
)
def test_tokens_cost_the_same_bits_whoever_scores_them_in_whatever_batches(
    source, monkeypatch, at_once, count, by_stretches
):
    """Of seven draws a window, whose sum hangs on their order: first draws in other batches, then many processes."""
    monkeypatch.setattr(draws_module, "_TOKENS_AT_ONCE", at_once)
    plan, network = plan_of(source, DiscreteBound(SCHEDULE, 7, 16)), Fixed()
    kept = {"keep_tokens": True, "stretches": stretches_of(source) if by_stretches else None}
    alone = [run(source, plan, network, batch_rows=rows, **kept).token_nats for rows in (8, 1, 5)]
    tables = run_together(monkeypatch, count, lambda each: run(source, plan, network, processes=each, **kept))
    for seen in [*alone[1:], *(table.token_nats for table in tables)]:
        np.testing.assert_array_equal(seen, alone[0])


@pytest.mark.parametrize(("samples", "passes"), some_of([(1, 1), (2, 3), (2, 1), (5, 1)], everyday=2))
def test_stretches_cost_what_their_tokens_do_to_the_last_bit(source, samples, passes):
    """And both what they cost by hand; pieces add up to what the windows cost."""
    bound, network, stretches = ContinuousBound(SCHEDULE, samples), Fixed(), stretches_of(source)
    plans = [plan_of(source, bound, index) for index in range(passes)]
    costs = []
    for each, rows in ((None, 7), (stretches, 7), (stretches, 3)):
        tables = [run(source, plan, network, keep_tokens=True, stretches=each, batch_rows=rows) for plan in plans]
        sampled = SampledBound(bound, layout_of(source), V, tables, each)
        costs.append([sampled.nats_of(pieces) for pieces in cuts_of(source)])
        for nats, pieces in zip(costs[-1], cuts_of(source), strict=True):
            by_window = np.bincount(pieces.span, weights=nats)
            np.testing.assert_allclose(by_window, sampled.window_nats, rtol=1e-13)
        if each is None:
            whole = [np.add.reduceat(sampled.token_nats, offsets(pieces)) for pieces in cuts_of(source)]
    for other in costs[1:]:
        for one, two in zip(costs[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    for one, two in zip(costs[0], whole, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)
    by_hand = np.zeros((len(source.spans), L))
    for row in range(len(plans[0])):
        alone = source.prepare(plans[0], RandomStreams(5), np.array([row]))
        nll = MaskedNllRunner(network, CPU).token_nats(alone).numpy()[0]
        by_hand[plans[0].window[row], : len(nll)] += plans[0].weight[row] * len(nll) / alone.num_masked[0] * nll
    expected = np.concatenate([row[:n] for row, n in zip(by_hand, source.spans.lengths, strict=True)])
    table = run(source, plans[0], network, keep_tokens=True)
    np.testing.assert_allclose(table.token_nats, expected, atol=samples * 2.0**-33, rtol=1e-14)


def test_where_neither_is_kept_pieces_cost_what_is_not_known(source):
    table = run(source, plan_of(source, ContinuousBound(SCHEDULE, 2)), Fixed())
    sampled = SampledBound(ContinuousBound(SCHEDULE, 2), layout_of(source), V, [table])
    assert sampled.nats_of(cuts_of(source)[0]) is None


class Fixed(nn.Module):
    """Costs that hang on the noise and the visible neighbours, with the same bits in any batch."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, True

    def logits(self, xt, level):
        table = torch.sin(torch.arange((V + 1) * V).view(V + 1, V) * 1.7)
        return table[xt] * 3 + table[xt.roll(1, 1)] + table[xt.roll(-1, 1)] * level.alpha_t.float()[:, None, None]


def layout_of(source):
    lengths = source.spans.lengths
    return Layout(source.spans, len(lengths), 2 * lengths, True, lengths)


def cuts_of(source):
    """Borders within windows, at their ends, and beside each other."""
    starts = np.array([0, 3, 4, L, 5 * L - 1, 5 * L, 9 * L + 2, 20 * L + 7, 37 * L + 1])
    return [document_pieces(each, source.spans) for each in (starts, starts[[0, 4, 8]] // 2 * 2)]


def offsets(pieces):
    return np.cumsum(pieces.lengths) - pieces.lengths


def stretches_of(source):
    return Stretches.of(*cuts_of(source))


class Alternating:
    """Has every third batch alone; answers each with ones, and keeps what had not been waited for when it began."""

    num_streams = 1

    def __init__(self):
        self.launched, self.waited_for, self.unfinished, self.watch = 0, 0, [], InputWatch()

    def runs_alone(self, prepared):
        del prepared
        return self.launched % 3 == 1

    def token_nats(self, prepared):
        self.unfinished.append(self.launched - self.waited_for)
        self.launched += 1
        return torch.ones(len(prepared.rows), 1, dtype=torch.float64)


def test_a_batch_that_is_to_be_alone_has_none_behind_it_either(source, plan, monkeypatch):
    """Sums of small products have the same bits only where nothing else runs."""
    runner = Alternating()

    class Slow:
        """An event that has not come until somebody waits for it."""

        def query(self):
            return False

        def synchronize(self):
            runner.waited_for += 1

    monkeypatch.setattr(draws_module, "_fetch", lambda values: (values, Slow()))
    run(source, plan, runner=runner, batch_rows=4)
    assert runner.launched > 9
    assert all(not runner.unfinished[at] and not runner.unfinished[at + 1] for at in range(1, runner.launched - 1, 3))
    assert any(runner.unfinished)  # the others are not
