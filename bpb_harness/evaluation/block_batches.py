"""Batches of a network that takes all blocks of a window in one call: a clean copy and a noised one, side by side.

A draw is still of one block, with a mask and a noise level of its own. What a call takes are windows, each with one
draw of every block; a block that nobody asks about in a call (its second draw, say, of which other blocks have none)
goes in unmasked, and what the network says of it is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.denoiser import num_blocks
from bpb_harness.evaluation.batches import (
    DrawPlan,
    DrawSource,
    PreparedBatch,
    deal_draws,
    in_micro_batches,
    stack_spans,
)
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class BlockSource:
    """Makes batches of whole windows.

    Attributes:
        blocks: makes the draws of single blocks.
        block_size: B.
    """

    blocks: DrawSource
    block_size: int

    @property
    def spans(self) -> Spans:
        """The blocks."""
        return self.blocks.spans

    def deal(self, plan: DrawPlan, batch_tokens: int) -> list[list[Ints]]:
        """Rows of each batch, as the micro-batches in which it goes through the network; windows are kept whole."""
        window, count = self._windows_of(plan, np.arange(len(plan)))
        rate = np.bincount(window, weights=plan.mask_rate, minlength=count) / np.bincount(window, minlength=count)
        lengths = np.zeros(count, dtype=np.int64)
        lengths[window] = self._window_lengths[plan.window]
        by_window = np.split(np.argsort(window, kind="stable"), np.cumsum(np.bincount(window, minlength=count))[:-1])
        dealt = in_micro_batches(deal_draws(lengths, rate, max(batch_tokens // 2, 1)))
        return [[np.concatenate([by_window[each] for each in part]) for part in parts] for parts in dealt]

    def longest(self, plan: DrawPlan) -> Ints:
        """Rows of two of the longest windows, to see what they take; nothing is dealt for it."""
        lengths = self._window_lengths[plan.window]
        rows = np.flatnonzero(lengths == lengths.max())
        return rows[self._windows_of(plan, rows)[0] < 2]

    def num_tokens(self, plan: DrawPlan, rows: Ints) -> int:
        """Tokens that go through the network for some draws of whole windows: both copies."""
        window, count = self._windows_of(plan, rows)
        lengths = np.zeros(count, dtype=np.int64)
        lengths[window] = self._window_lengths[plan.window[rows]]
        return 2 * int(lengths.sum())

    def prepare(self, plan: DrawPlan, streams: RandomStreams, rows: Ints) -> PreparedBatch:
        """Tokens and masks of some draws, whose windows have one length."""
        # 1. (R,) window, block within it, and their place among all blocks of the batch.
        window, num_windows = self._windows_of(plan, rows)
        which, spans = plan.window[rows], self.spans
        block = spans.context_lengths[which] // self.block_size
        length = int(self._window_lengths[which[0]])
        count = num_blocks(length, self.block_size)
        order = np.lexsort((block, window))
        rows, which, window, block = rows[order], which[order], window[order], block[order]
        # 2. (G, L) tokens of each window.
        begins = np.zeros(num_windows, dtype=np.int64)
        begins[window] = spans.context_starts[which]
        windows = Spans.without_context(begins, begins + length)
        x0 = stack_spans(self.blocks.corpus, windows, np.arange(num_windows))
        # 3. (G, L) masks, and the noise level of each block; of one that nobody asks about, any.
        masked = torch.zeros(x0.shape, dtype=torch.bool)
        rates = np.full(num_windows * count, self.blocks.schedule.max_mask_rate)
        places = window * count + block
        rates[places] = plan.mask_rate[rows]
        num_masked, control = np.empty_like(rows), np.empty(len(rows))
        places_in_window = spans.context_lengths[which]
        shapes = self._beside.spans.input_lengths[which]
        for shape in np.unique(shapes):
            (some,) = np.nonzero(shapes == shape)
            drawn = self._beside.prepare(plan, streams, rows[some])
            num_masked[some], control[some] = drawn.num_masked, drawn.control
            for row, mask, context in zip(some, drawn.masked, drawn.context_lengths.tolist(), strict=True):
                begin = int(places_in_window[row])
                masked[int(window[row]), begin : begin + len(mask) - context] = mask[context:]
        positions, cells = torch.from_numpy(np.flatnonzero(masked.numpy())), torch.from_numpy(places)
        return PreparedBatch(
            rows, x0, torch.from_numpy(places_in_window % self.block_size), masked,
            self.blocks.schedule.level_at(torch.from_numpy(rates)), positions, num_masked, control,
            self.block_size, cells,
        )  # fmt: skip

    @cached_property
    def _beside(self) -> DrawSource:
        """The same draws with the last token of each context alone: masks and controls depend on no other."""
        spans = self.spans
        seen_from = np.maximum(spans.context_starts, spans.starts - 1)
        return replace(self.blocks, spans=replace(spans, context_starts=seen_from), bigrams=self.blocks.counts)

    @cached_property
    def _window_lengths(self) -> Ints:
        """Tokens of the window of each block, (N,)."""
        _, window = np.unique(self.spans.context_starts, return_inverse=True)
        ends = np.zeros(int(window.max()) + 1, dtype=np.int64)
        np.maximum.at(ends, window, self.spans.ends)
        return np.asarray(ends[window] - self.spans.context_starts)

    def _windows_of(self, plan: DrawPlan, rows: Ints) -> tuple[Ints, int]:
        """Which window of a call each draw belongs to, by its own and its number, (R,); and how many there are."""
        keys = np.stack([self.spans.context_starts[plan.window[rows]], plan.sample[rows]])
        unique, window = np.unique(keys, axis=1, return_inverse=True)
        return np.asarray(window, dtype=np.int64).ravel(), unique.shape[1]
