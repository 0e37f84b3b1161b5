"""Which draws go through the network together, and what of them the host makes ahead of time.

A batch is a pure function of the plan and the batch size. Batches of a stratified plan are dealt so that each holds the
same mixture of mask rates: all then need the same number of predictions, and the same memory. The first one goes
through the network in micro-batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.sampling.bigram import BigramCounts, count_bigrams
from bpb_harness.sampling.control_variate import NeighbourCode
from bpb_harness.sampling.masks import size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel, NoiseSchedule
from bpb_harness.text.corpus import Corpus, Windows

Ints = npt.NDArray[np.int64]

_FIRST_MICRO_BATCHES = 4
_MAX_AHEAD = 2


@final
@dataclass(frozen=True)
class DrawPlan:
    """Which masks to draw, one row a draw.

    Attributes:
        window: index of the window among those scored, (R,) int64.
        sample: which draw of its window, (R,) int64; with the window it addresses the mask's noise.
        position: v in (0, 1], (R,) float64.
        mask_rate: u, (R,) float64.
        weight: what L C / |M| is multiplied with in the window's bound, (R,) float64.
        num_replicates: so many rows at the end, of weight 0, are second draws of windows, for the error alone.
    """

    window: Ints
    sample: Ints
    position: npt.NDArray[np.float64]
    mask_rate: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    num_replicates: int = 0

    def __len__(self) -> int:
        return len(self.window)

    @property
    def num_weighed(self) -> int:
        """Rows that enter the bound: those before the replicates, in the order of the windows."""
        return len(self) - self.num_replicates


@final
@dataclass(frozen=True)
class PreparedBatch:
    """Draws of windows of one length, as the network takes them.

    Attributes:
        rows: their rows in the plan, (B,) int64.
        x0: clean tokens, (B, L) int64.
        masked: (B, L) bool.
        level: noise level of each row, (B,).
        positions: the masked positions of the flattened batch, ascending, (n,) int64.
        num_masked: |M| of each row, (B,) int64.
        control: control variate of each row's mask, (B,) nats per masked token, of mean 0.
    """

    rows: Ints
    x0: Tensor
    masked: Tensor
    level: NoiseLevel
    positions: Tensor
    num_masked: Ints
    control: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the network."""
        return self.x0.numel()

    def part(self, start: int, stop: int) -> PreparedBatch:
        """Rows start .. stop - 1 as a batch of their own."""
        if start == 0 and stop >= len(self):
            return self  # as it lies in page-locked memory
        ends = np.cumsum(self.num_masked)
        first, last = (int(ends[row - 1]) if row else 0 for row in (start, min(stop, len(self))))
        rows = slice(start, stop)
        return PreparedBatch(
            self.rows[rows], self.x0[rows], self.masked[rows], self.level[rows],
            self.positions[first:last] - start * self.x0.shape[1], self.num_masked[rows], self.control[rows],
        )  # fmt: skip

    def pinned(self) -> PreparedBatch:
        """A copy in page-locked memory, from which a GPU fetches while it computes."""
        level = NoiseLevel(*(part.pin_memory() for part in (self.level.t, self.level.alpha_t, self.level.dalpha_t)))
        return PreparedBatch(
            self.rows, self.x0.pin_memory(), self.masked.pin_memory(), level, self.positions.pin_memory(),
            self.num_masked, self.control,
        )  # fmt: skip


@final
@dataclass(frozen=True)
class DrawSource:
    """Makes the batches of a pass: tokens from the corpus, masks from the streams.

    Attributes:
        corpus: the token stream.
        windows: what of it is scored; the plan's windows index these.
        schedule: turns mask rates into noise levels.
        first_window: index in the corpus of ``windows[0]``; it addresses the noise.
        bigrams: counts of the windows, if they are there already.
    """

    corpus: Corpus
    windows: Windows
    schedule: NoiseSchedule
    first_window: int = 0
    bigrams: BigramCounts | None = None

    @cached_property
    def neighbours(self) -> NeighbourCode:
        """The model behind the control variate."""
        counts = count_bigrams(self.corpus, self.windows) if self.bigrams is None else self.bigrams
        return NeighbourCode(self.corpus, self.windows, counts)

    def prepare(self, plan: DrawPlan, streams: RandomStreams, rows: Ints) -> PreparedBatch:
        """Tokens and masks of some draws, whose windows have one length."""
        x0 = stack_windows(self.corpus, self.windows, plan.window[rows])
        noise, target = stack_mask_noise(streams, plan.window[rows] + self.first_window, plan.sample[rows], x0.shape[1])
        level = self.schedule.level_at(torch.from_numpy(plan.mask_rate[rows]))
        masked = size_biased_masks(noise, target, level)
        positions = torch.from_numpy(np.flatnonzero(masked.numpy()))
        control = self.neighbours.control_of_batch(x0.numpy(), masked.numpy(), plan.mask_rate[rows])
        return PreparedBatch(rows, x0, masked, level, positions, masked.sum(dim=-1).numpy(), control)


def deal_draws(lengths: Ints, mask_rate: npt.NDArray[np.float64], batch_tokens: int) -> list[Ints]:
    """Split draws into batches of one window length, longest first, each with the same mixture of mask rates.

    Draws are ordered by mask rate and dealt to and fro like cards, so that the mean rates of two batches differ by less
    than one draw's share.

    Args:
        lengths: of each draw's window, (R,).
        mask_rate: mask rate of each draw, (R,).
        batch_tokens: tokens a batch, at least one window.

    Returns:
        Rows of each batch, ascending; every row is in exactly one.
    """
    dealt: list[Ints] = []
    for length in sorted({int(length) for length in lengths}, reverse=True):
        rows = np.flatnonzero(lengths == length)
        rows = rows[np.argsort(mask_rate[rows], kind="stable")]
        size = max(batch_tokens // max(length, 1), 1)
        count = -(-len(rows) // size)
        turn, place = np.divmod(np.arange(len(rows)), count)
        batch = np.where(turn % 2 == 0, place, count - 1 - place)
        dealt += [np.sort(rows[batch == index]) for index in range(count)]
    return dealt


def in_micro_batches(batches: Sequence[Ints]) -> list[list[Ints]]:
    """Each batch as the micro-batches in which it goes through the network: one, but for the first batch.

    A device begins with the first micro-batch while the host makes the others.
    """
    whole = [[rows] for rows in batches]
    if not batches or len(batches[0]) < 2 * _FIRST_MICRO_BATCHES:  # a network is compiled for two rows or more
        return whole
    return [np.array_split(batches[0], _FIRST_MICRO_BATCHES), *whole[1:]]


def consecutive(lengths: Ints, batch_tokens: int) -> Iterator[tuple[Ints, int]]:
    """Split rows into batches of one length each, in order; yields (rows, length)."""
    for length in sorted({int(length) for length in lengths}, reverse=True):
        rows = np.flatnonzero(lengths == length)
        size = max(batch_tokens // max(length, 1), 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size], length


def prepare_ahead(
    source: DrawSource,
    plan: DrawPlan,
    streams: RandomStreams,
    batches: Sequence[Ints],
    *,
    pin_memory: bool,
) -> Iterator[PreparedBatch]:
    """Prepare batches in a thread while the network works on earlier ones; they come in order.

    One thread: more of them would wait for the interpreter, and keep it from whoever launches the network.
    """

    def prepare(rows: Ints) -> PreparedBatch:
        prepared = source.prepare(plan, streams, rows)
        return prepared.pinned() if pin_memory else prepared

    pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    waiting: deque[Future[PreparedBatch]] = deque()
    try:
        for rows in batches:
            waiting.append(pool.submit(prepare, rows))
            if len(waiting) > _MAX_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def stack_windows(corpus: Corpus, windows: Windows, which: Ints) -> Tensor:
    """Tokens of windows of one length, (B, L) int64."""
    starts, lengths = windows.starts[which], windows.lengths[which]
    return torch.from_numpy(
        np.stack([corpus.read(int(start), int(start + length)) for start, length in zip(starts, lengths, strict=True)])
    )
