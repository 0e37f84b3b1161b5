"""All blocks of a window in one call: the draws, masks and sums of a call a block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bpb_harness.estimators import ContinuousBound, DiscreteBound
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.block_batches import BlockSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import blocks
from tests.oracles import OracleDenoiser, Table

V, B, L, CPU = 3, 2, 6, torch.device("cpu")
SCHEDULE = parse_schedule("cosine-md4[0.05]")


class Blocks(OracleDenoiser):
    """A table of conditionals that is asked block by block, or about all blocks at once."""

    block_size = B

    def __init__(self, *, memory=None):
        super().__init__(Table(V, seed=4, time_conditioned=True), context_length=L)
        self.rows, self.memory = [], memory

    def block_logits(self, xt, x0, level):
        if self.memory is not None and len(xt) > self.memory:
            raise torch.OutOfMemoryError("out of memory")
        self.rows.append(len(xt))
        count = -(-xt.shape[1] // B)
        levels = [level[row * count : (row + 1) * count] for row in range(len(xt))]
        rows = [self._window(*window, its_own) for *window, its_own in zip(xt, x0, levels, strict=True)]
        return torch.stack(rows)

    def _window(self, xt, x0, level):
        parts = []
        for block in range(len(level)):
            begin, end = block * B, min(block * B + B, len(xt))
            row = torch.cat([x0[:begin], xt[begin:end]]).unsqueeze(0)
            parts.append(self.logits(row, level[block : block + 1])[0, begin:])
        return torch.cat(parts)


def _named(shape):
    return f"{shape[0]} windows and {shape[1]} behind {shape[2]}"


@pytest.fixture(params=[(4, 2, 0), (5, 4, 0), (6, 1, 1), (5, 5, 3)], ids=_named)
def source(request):
    return _source(*request.param)


def _source(windows, rest, prefix):
    tokens = np.random.default_rng(windows).integers(0, V, windows * L + rest)
    corpus = Corpus("text", "0" * 64, len(tokens), _parts=(tokens,), _offsets=np.array([0, len(tokens)]))
    spans = blocks(0, len(tokens), L, B, unpaid_prefix=prefix)
    return DrawSource(corpus, spans, SCHEDULE, bigrams=count_bigrams(corpus, spans))


def plan_of(source, bound, streams):
    if bound.num_samples == "all":
        return plan_draws(bound, len(source.spans), None)
    difficulty = bigram_difficulty(source.corpus, source.spans, source.counts)
    return plan_draws(bound, len(source.spans), StratifiedDesign(streams, difficulty, bound.num_samples))


def run(network, source, plan, streams, size=64, **more):
    return run_draws(MaskedNllRunner(network, CPU), source, plan, streams, device=CPU, batch_tokens=size, **more)


@pytest.mark.parametrize("samples", [1, 3, "all"])
def test_one_call_is_a_call_a_block(source, samples):
    bound = DiscreteBound(SCHEDULE, "all", 3) if samples == "all" else ContinuousBound(SCHEDULE, samples)
    plan = plan_of(source, bound, RandomStreams(7))
    assert plan.num_replicates == 0
    _agree(source, plan, (1, 40, 10_000))


@pytest.mark.parametrize("shape", [(31, 5, 0), (31, 1, 1)], ids=_named)
def test_windows_of_blocks_that_are_drawn_twice_have_no_second_draw_of_other_blocks(shape, monkeypatch):
    monkeypatch.setattr("bpb_harness.sampling.design.MIN_WINDOWS_REPLICATED", 64)
    monkeypatch.setattr("bpb_harness.sampling.design._MIN_REPLICATES", 17)
    source = _source(*shape)
    plan = plan_of(source, ContinuousBound(SCHEDULE, 1), RandomStreams(7))
    assert plan.num_replicates > 0
    _agree(source, plan, (40, 10_000))


def _agree(source, plan, sizes):
    streams = RandomStreams(7)
    single = run(Blocks(), source, plan, streams, keep_tokens=True)
    for size in sizes:
        together = run(Blocks(), BlockSource(source, B), plan, streams, size, keep_tokens=True)
        assert together.num_masked.tolist() == single.num_masked.tolist()
        assert together.control.tolist() == single.control.tolist()
        np.testing.assert_allclose(together.nats, single.nats, rtol=1e-12)
        np.testing.assert_allclose(together.token_nats, single.token_nats, rtol=1e-12)


def test_a_call_takes_whole_windows_and_both_copies_are_counted(source):
    bound, streams, network = ContinuousBound(SCHEDULE, 2), RandomStreams(7), Blocks()
    plan, seen = plan_of(source, bound, streams), []
    table = run(network, BlockSource(source, B), plan, streams, 8 * L, advance=seen.append)
    begins, last = np.unique(source.spans.context_starts[::-1], return_index=True)
    windows, num_tokens = len(begins), int((source.spans.ends[::-1][last] - begins).sum())
    assert sum(network.rows) == 2 * windows
    assert max(network.rows) <= 4
    assert table.num_forward_tokens == sum(seen) == 2 * 2 * num_tokens


def test_a_batch_that_does_not_fit_is_halved(source):
    bound, streams = ContinuousBound(SCHEDULE, 2), RandomStreams(7)
    plan, network = plan_of(source, bound, streams), Blocks(memory=1)
    runner = MaskedNllRunner(network, CPU)
    made_of = {"device": CPU, "batch_tokens": 10_000, "keep_tokens": True}
    halved = run_draws(runner, BlockSource(source, B), plan, streams, **made_of)
    assert max(network.rows) == 1
    assert {remark.code for remark in runner.remarks} == {"batch-halved"}, "micro-batches are larger than that"
    alone = run(Blocks(), source, plan, streams, keep_tokens=True)
    np.testing.assert_allclose(halved.nats, alone.nats, rtol=1e-12)
    np.testing.assert_allclose(halved.token_nats, alone.token_nats, rtol=1e-12)


def test_finished_draws_are_not_drawn_again(source):
    bound, streams, kept = ContinuousBound(SCHEDULE, 2), RandomStreams(7), []
    plan, first, network = plan_of(source, bound, streams), Blocks(), Blocks()
    whole = run(first, BlockSource(source, B), plan, streams, 2 * L, keep=kept.append)
    again = run(network, BlockSource(source, B), plan, streams, 2 * L, finished=kept[:3])
    assert network.rows == first.rows[3:]
    np.testing.assert_allclose(again.nats, whole.nats, rtol=1e-12)


def test_a_probe_of_memory_is_two_of_the_longest_rows(source):
    """Found without dealing the text into batches of two, which would take as long as the text is."""
    plan = plan_of(source, ContinuousBound(SCHEDULE, 2), RandomStreams(7))
    rows = source.longest(plan)
    longest = source.spans.input_lengths.max()
    assert source.spans.input_lengths[plan.window[rows]].tolist() == [longest] * 2
    together = BlockSource(source, B)
    prepared = together.prepare(plan, RandomStreams(7), together.longest(plan))
    assert prepared.x0.shape == (2, L)
    assert len(prepared.rows) == 2 * (source.spans.context_starts == 0).sum()  # all blocks of both


@pytest.mark.parametrize("by_blocks", [False, True])
def test_parts_of_a_batch_are_the_batch(source, by_blocks):
    plan, streams = plan_of(source, ContinuousBound(SCHEDULE, 2), RandomStreams(7)), RandomStreams(7)
    maker = BlockSource(source, B) if by_blocks else source
    batch = maker.prepare(plan, streams, np.concatenate(maker.deal(plan, 10_000)[0]))
    batch = replace(batch, context_lengths=torch.arange(len(batch.rows)))  # each its own
    length, cells = batch.x0.shape[1], len(batch.level) // len(batch)
    parts = [batch.part(start, start + 3) for start in range(0, len(batch), 3)]
    assert sum(map(len, parts)) == len(batch) > 3
    for name in ("rows", "num_masked", "control", "x0", "masked", "context_lengths"):
        joined = np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        np.testing.assert_array_equal(joined, np.asarray(getattr(batch, name)), name)
    assert torch.equal(torch.cat([part.level.t for part in parts]), batch.level.t)
    places = [part.positions + 3 * index * length for index, part in enumerate(parts)]
    assert torch.equal(torch.cat(places), batch.positions)
    if by_blocks:
        of_cells = [part.cells + 3 * index * cells for index, part in enumerate(parts)]
        assert torch.equal(torch.cat(of_cells), batch.cells)
    assert {part.block_size for part in parts} == {B if by_blocks else None}
    assert batch.part(0, len(batch) + 5) is batch


@pytest.mark.parametrize("by_blocks", [False, True])
def test_a_pinned_batch_is_the_batch_with_all_its_tensors_in_page_locked_memory(source, by_blocks, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    plan, streams = plan_of(source, ContinuousBound(SCHEDULE, 2), RandomStreams(7)), RandomStreams(7)
    maker = BlockSource(source, B) if by_blocks else source
    batch = maker.prepare(plan, streams, maker.deal(plan, 40)[0][0])
    copy = batch.pinned()
    assert len(pinned) == (8 if by_blocks else 7)
    for name, kept in vars(batch).items():
        if isinstance(kept, torch.Tensor):
            assert getattr(copy, name) is not kept
            assert torch.equal(getattr(copy, name), kept)
    assert copy.level.mask_rate.tolist() == batch.level.mask_rate.tolist()
    assert (copy.rows is batch.rows, copy.block_size) == (True, batch.block_size)
