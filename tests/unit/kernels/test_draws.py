"""Masks and control variates that a device makes are those of the host, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.kernels import draws as device_draws
from bpb_harness.kernels.draws import DeviceTables, Draws, control_sums, plain_masks, plain_sums
from bpb_harness.kernels.loading import has_triton
from bpb_harness.sampling.bigram import BigramCounts, bucket_of
from bpb_harness.sampling.control_variate import NeighbourCode
from bpb_harness.sampling.design import size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams, torch_words
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.shards import write_shard
from tests.unit.sampling.test_control_variate import neighbour_code

CPU = torch.device("cpu")
WORD = st.integers(0, 2**64 - 1)
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_triton(), reason="needs a CUDA device and triton"
)


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@given(WORD, WORD, st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), min_size=1, max_size=5))
def test_words_are_numpys(seed: int, purpose: int, places: list[tuple[int, int]]) -> None:
    window, sample = (torch.tensor(column)[:, None] for column in zip(*places, strict=True))
    left, right = (torch.tensor([[signed(word)]]) for word in (seed, purpose))
    words = torch_words(left, right, (torch.tensor([[1, 2]]), window, sample, torch.zeros_like(window)))
    numbers = torch.stack(torch.broadcast_tensors(*words), dim=-1).flatten(1).numpy().astype(np.uint64)
    for row, (w, x) in zip(numbers, places, strict=True):
        counter, key = np.array([0, w, x, 0], dtype=np.uint64), np.array([seed, purpose], dtype=np.uint64)
        assert row.tolist() == np.random.Philox(key=key, counter=counter).random_raw(8).tolist()


class Case:
    """Draws of spans of one input length, some behind contexts, and what the host makes of them."""

    def __init__(self, folder, *, length: int, rows: int, vocab: int, seed: int, device=CPU):
        rng = np.random.default_rng(seed)
        corpus = load_shards([write_shard(folder / f"{seed}.bin", rng.integers(0, vocab, 6 * length + rows))])
        begins = np.sort(rng.integers(0, 3 * length, rows))
        contexts = rng.integers(0, length, rows) * rng.integers(0, 2, rows)
        starts = np.maximum.accumulate(begins + contexts)
        spans = Spans(starts - contexts, starts, starts - contexts + length)
        code = neighbour_code(corpus, spans)
        self.x0 = np.stack([corpus.read(int(a), int(b)) for a, b in zip(spans.context_starts, spans.ends, strict=True)])
        self.rate = rng.choice([1e-9, 1e-3, 0.3, 0.5, 0.999, 1.0], rows)
        windows, samples = rng.integers(0, 1 << 40, rows), rng.integers(0, 9, rows)
        streams = RandomStreams(2**64 - 1 - seed, pass_index=seed)
        noise, target = stack_mask_noise(streams, windows, samples, spans.lengths, length)
        level = LogLinear().level_at(torch.from_numpy(self.rate))
        self.masked = size_biased_masks(noise, target, level)
        self.contexts, self.lengths = contexts, spans.lengths
        self.control = code.control_of_batch(self.x0, self.masked.numpy(), self.rate, contexts)
        table = Draws.rows(streams.mask_key, windows, samples, contexts, level.mask_rate.numpy())
        self.draws = Draws(torch.from_numpy(table).to(device), torch.from_numpy(self.x0).to(device))
        self.tables = DeviceTables.of(code, device)

    def control_of(self, sums: torch.Tensor) -> np.ndarray:
        return control_sums(sums.cpu().numpy()).control(self.lengths, self.rate, self.contexts > 0)


SHAPES = [(1, 3), (2, 5), (3, 4), (4, 3), (7, 30), (128, 9), (1030, 6)]


@pytest.mark.parametrize(("length", "rows"), SHAPES)
@pytest.mark.parametrize("vocab", [2, 300])
def test_plain_operations_give_what_the_host_gives(tmp_path, length, rows, vocab):
    case = Case(tmp_path, length=length, rows=rows, vocab=vocab, seed=length)
    masked = plain_masks(case.draws)
    assert torch.equal(masked, case.masked)
    sums = plain_sums(case.draws, masked, case.tables)
    assert sums.dtype == torch.int64
    assert sums[:, 0].tolist() == case.masked.sum(dim=1).tolist()
    assert case.control_of(sums).tolist() == case.control.tolist()


@settings(max_examples=20)
@given(st.integers(0, 2**53), st.integers(-1, 1))
def test_a_position_is_masked_below_the_rate_and_not_at_it(number, beside):
    """The rate as a whole number of 2^-53 cuts where the comparison of floats does."""
    rate = min(max(np.nextafter(number * 2.0**-53, number * 2.0**-53 + beside), 0.0), 1.0)
    ((threshold,),) = Draws.rows((0, 0), *np.zeros((3, 1), int), np.array([rate]))[3:4].tolist()
    for noise in (number - 1, number, number + 1):
        assert (noise < threshold) == (noise * 2.0**-53 < rate)


def test_pairs_leave_themselves_out_and_absent_ones_count_nothing():
    pairs = np.zeros(1 << 20, dtype=np.int64)
    pairs[bucket_of(np.array([1, 1]), np.array([0, 1]))] = 1, 5
    tables = DeviceTables.of(NeighbourCode.of(BigramCounts(pairs, np.array([2, 6]), 1)), CPU)
    assert tables.pairs.max() == 4.0
    assert tables.pairs.sum() == 4.0


@needs_gpu
@pytest.mark.parametrize(("length", "rows"), [*SHAPES, (2048, 132)])
def test_kernels_give_what_the_host_gives(tmp_path, length, rows):
    case = Case(tmp_path, length=length, rows=rows, vocab=1024, seed=length, device=torch.device("cuda"))
    assert device_draws._has_kernels(case.draws.x0)
    masked = device_draws.draw_masks(case.draws)
    assert torch.equal(masked.cpu(), case.masked)
    sums = device_draws.sum_masks(case.draws, masked, case.tables)
    assert torch.equal(sums, plain_sums(case.draws, masked, case.tables))
    assert torch.equal(plain_masks(case.draws), masked)
    assert case.control_of(sums).tolist() == case.control.tolist()
