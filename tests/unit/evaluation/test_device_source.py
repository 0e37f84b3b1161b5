"""Batches that a device makes are the host's; draws whose masks are given, and memory that is short, are the host's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpb_harness.errors import NumericsError
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluation import device_source
from bpb_harness.evaluation.batches import DrawSource, prepare_ahead
from bpb_harness.evaluation.block_batches import BlockSource
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.evaluation.draws import plan_draws
from bpb_harness.evaluation.passes import source_of_batches
from bpb_harness.kernels import draws as kernels
from bpb_harness.sampling.design import IndependentDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.shards import write_shard

SCHEDULE, STREAMS, CPU = LogLinear(1e-3), RandomStreams(3, 2), torch.device("cpu")


@pytest.fixture
def source(tmp_path):
    """Thirty spans of sixteen tokens, some of them behind a context."""
    corpus = load_shards([write_shard(tmp_path / "a.bin", np.random.default_rng(0).integers(0, 40, 600))])
    begins, contexts = np.arange(30) * 16, np.arange(30) % 3
    return DrawSource(corpus, Spans(begins, begins + contexts, begins + 16), SCHEDULE, first_window=7)


@pytest.fixture
def plan(source):
    return plan_draws(ContinuousBound(SCHEDULE, 2), 30, IndependentDesign(STREAMS, 30, 2))


def require_same(made, expected):
    for name in ("rows", "num_masked", "control"):
        assert getattr(made, name).tolist() == getattr(expected, name).tolist(), name
    for name in ("x0", "masked", "positions", "context_lengths"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name
    assert made.level.mask_rate.tolist() == expected.level.mask_rate.tolist()
    assert made.level.t.tolist() == expected.level.t.tolist()


def test_batches_are_the_hosts(source, plan):
    device = DeviceSource(source, CPU)
    (first, *_), others = device.deal(plan, 12 * 16), source.deal(plan, 12 * 16)
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in others[0]]
    assert device.longest(plan).tolist() == source.longest(plan).tolist()
    assert device.num_tokens(plan, first[0]) == source.num_tokens(plan, first[0])
    for rows in (np.arange(60), np.array([5]), np.array([41, 3, 3, 17])):
        require_same(device.prepare(plan, STREAMS, rows), source.prepare(plan, STREAMS, rows))
    (ahead,) = prepare_ahead(device, plan, STREAMS, [np.arange(9)], pin_memory=False)
    require_same(ahead, source.prepare(plan, STREAMS, np.arange(9)))


@pytest.mark.parametrize(("kind", "name", "largest"), [("<u2", "uint16", 65_535), ("<u4", "uint32", 2_147_483_646)])
def test_tokens_are_the_corpus_own_wherever_they_lie(tmp_path, plan, monkeypatch, kind, name, largest):
    """Across shards, from the middle of the first, and above what a signed number of their width holds."""
    values = np.random.default_rng(1).integers(0, largest, 900, endpoint=True).astype(kind)
    for part, tokens in (("a", values[:500]), ("b", values[500:])):
        (tmp_path / f"{part}.bin").write_bytes(tokens.tobytes())
    corpus = load_shards([tmp_path], shard_format=name)
    assert [piece.tolist() for piece in corpus.stored(490, 520)] == [values[490:500].tolist(), values[500:520].tolist()]
    starts = 400 + np.arange(30) * 16
    source = DrawSource(corpus, Spans.without_context(starts, starts + 16), SCHEDULE)
    monkeypatch.setattr(DeviceSource, "_tables", None)  # of so large a vocabulary; the control variate is not looked at
    monkeypatch.setattr(
        device_source, "sum_masks", lambda _, masked, tables: masked.sum(1, keepdim=True).expand(-1, 14)
    )
    rows = np.array([3, 59, 14])
    expected = [values[start : start + 16].tolist() for start in starts[plan.window[rows]]]
    monkeypatch.setattr(device_source, "_SENT_AT_ONCE", 7)
    kept = DeviceSource(source, CPU)
    assert kept.prepare(plan, STREAMS, rows).x0.tolist() == expected
    assert kept._text is not None
    monkeypatch.setattr(device_source, "_LARGEST_TEXT", 100)
    sent = DeviceSource(source, CPU)
    assert sent.prepare(plan, STREAMS, rows).x0.tolist() == expected
    assert sent._text is None


def test_masks_that_are_given_are_not_drawn(source, plan, monkeypatch):
    given = np.zeros(60, dtype=np.int64)
    given[4] = 0b101
    some = replace(plan, given=given)
    device = DeviceSource(source, CPU)
    require_same(device.prepare(some, STREAMS, np.arange(8)), source.prepare(some, STREAMS, np.arange(8)))
    monkeypatch.setattr(source.__class__, "prepare", lambda *_: pytest.fail("these are drawn"))
    device.prepare(some, STREAMS, np.arange(5, 9))


def test_the_host_serves_where_the_network_has_all_memory(source, plan, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(device_source, "draw_masks", full)
    rows = np.arange(10)
    require_same(DeviceSource(source, CPU).prepare(plan, STREAMS, rows), source.prepare(plan, STREAMS, rows))


@pytest.mark.parametrize("more", [1, -1])
def test_masks_are_as_many_as_were_counted(source, plan, monkeypatch, more):
    """A count that is off would give a draw the costs of its neighbour."""

    def miscounted(draws, masked, tables):
        sums = kernels.sum_masks(draws, masked, tables)
        sums[4, 0] += more
        return sums

    monkeypatch.setattr(device_source, "sum_masks", miscounted)
    with pytest.raises(NumericsError, match=r"masks that a device made: got \d+ masked positions, expected \d+; its"):
        DeviceSource(source, CPU).prepare(plan, STREAMS, np.arange(10))


def test_a_compiler_that_fails_is_done_without(source, plan, monkeypatch, warned):
    def failing(*_):
        raise ValueError("no such target")

    monkeypatch.setattr(kernels, "_fails", False)
    monkeypatch.setattr(kernels, "_masks_by_kernel", failing)
    monkeypatch.setattr(kernels, "_has_kernels", lambda x: not kernels._fails)
    rows = np.arange(10)
    for _ in range(2):
        require_same(DeviceSource(source, CPU).prepare(plan, STREAMS, rows), source.prepare(plan, STREAMS, rows))
    (line,) = warned
    assert "masks are drawn without kernels, which is slower: ValueError: no such target" in line


def test_a_gpu_makes_its_own_batches_but_those_of_whole_windows_of_blocks(source):
    def made_by(device, blocks=None):
        return source_of_batches(SimpleNamespace(device=torch.device(device), one_call_block_size=blocks), source)

    assert made_by("cpu") is source
    assert isinstance(made_by("cuda"), DeviceSource)
    assert isinstance(made_by("cuda", 4), BlockSource)
    assert isinstance(made_by("cpu", 4), BlockSource)


def test_what_lies_on_a_gpu_is_not_sent_there(plan):
    class Prepared:
        x0 = SimpleNamespace(device=torch.device("cuda"))

        def pinned(self):
            pytest.fail("this is no memory of the host")

    made = Prepared()
    anywhere = SimpleNamespace(prepare=lambda *_: made)
    assert list(prepare_ahead(anywhere, plan, STREAMS, [np.arange(2)], pin_memory=True)) == [made]
