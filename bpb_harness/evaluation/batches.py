"""Which draws go through the network together, what of them the host makes ahead, and what if they do not fit.

A batch is a pure function of the plan and the batch size. Batches of a stratified plan are dealt so that each holds the
same mixture of mask rates: all then need the same number of predictions, and the same memory. The first one goes
through the network in micro-batches. One that does not fit into memory is halved, and said so, instead of a crash.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import num_blocks
from bpb_harness.errors import NumericsError
from bpb_harness.result import Remark
from bpb_harness.sampling.bigram import BigramCounts, count_bigrams
from bpb_harness.sampling.control_variate import NeighbourCode
from bpb_harness.sampling.design import mask_bits, size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel, NoiseSchedule
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

if TYPE_CHECKING:
    from bpb_harness.evaluation.block_batches import BlockSource
    from bpb_harness.evaluation.device_source import DeviceSource

LOG = logging.getLogger("bpb_harness")
T = TypeVar("T")
Source: TypeAlias = "DrawSource | DeviceSource | BlockSource"
Ints = npt.NDArray[np.int64]

_FIRST_MICRO_BATCHES = 4
_MAX_AHEAD = 2


@final
@dataclass(frozen=True)
class DrawPlan:
    """Which masks to draw, one row a draw.

    Attributes:
        window: index of the span among those scored, (R,) int64.
        sample: which draw of its span, (R,) int64; with the span it addresses the mask's noise.
        position: v in (0, 1], (R,) float64.
        mask_rate: u, (R,) float64.
        weight: what L C / |M| is multiplied with in the span's bound, (R,) float64.
        num_replicates: so many rows at the end, of weight 0, are second draws of spans, for the error alone.
        given: the mask itself, where all of a span are gone through: bit i of it for target i; 0 where it is drawn.
            (R,) int64; None where all are drawn. The control variate has mean 0 over drawn masks alone.
        is_independent: the rates of a span's draws have nothing to do with one another, so that they show its error.
    """

    window: Ints
    sample: Ints
    position: npt.NDArray[np.float64]
    mask_rate: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    num_replicates: int = 0
    given: Ints | None = None
    is_independent: bool = False

    def __len__(self) -> int:
        return len(self.window)

    @property
    def num_weighed(self) -> int:
        """Rows that enter the bound: those before the replicates, in the order of the spans."""
        return len(self) - self.num_replicates

    def take(self, rows: Ints) -> DrawPlan:
        """Some of the rows, ascending."""
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in ("window", "sample", "position", "mask_rate", "weight")},
            num_replicates=int((rows >= self.num_weighed).sum()),
            given=None if self.given is None else self.given[rows],
        )

    @property
    def is_drawn(self) -> npt.NDArray[np.bool_]:
        """Which rows are drawn, and not part of all masks of a span, (R,)."""
        return np.ones(len(self), dtype=bool) if self.given is None else self.given == 0


@final
@dataclass(frozen=True)
class PreparedBatch:
    """Draws as a network takes them, a cell each: G rows of one length, the cells of a row side by side.

    A cell is a whole row, a span with the context first; or, of a network that takes all blocks of a window in one
    call, one of the window's blocks. A block that nobody asks about is unmasked, and what is said of it is not read.

    Attributes:
        rows: of the draws in the plan, (R,) int64, cell by cell.
        x0: clean tokens, (G, N) int64.
        context_lengths: how many tokens of each draw's cell, the first, are visible and not paid for, (R,) int64.
        masked: (G, N) bool, targets alone.
        level: noise level of each cell among its targets, (G n,) for n cells a row.
        positions: the masked positions of the flattened batch, ascending, (m,) int64.
        num_masked: |M| of each draw, (R,) int64.
        control: control variate of each draw's mask, (R,) nats per masked token, of mean 0.
        block_size: tokens of a cell, the last of a row may be shorter; None: a cell is a row, and each is drawn.
        cells: which of the G n cells each draw is of, (R,) int64, ascending; None where a cell is a row.
    """

    rows: Ints
    x0: Tensor
    context_lengths: Tensor
    masked: Tensor
    level: NoiseLevel
    positions: Tensor
    num_masked: Ints
    control: npt.NDArray[np.float64]
    block_size: int | None = None
    cells: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x0)

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the network: of blocks a clean copy and a noised one."""
        return self.x0.numel() if self.block_size is None else 2 * self.x0.numel()

    def by_draw(self, nats: Tensor) -> Tensor:
        """Values of every position, (G, N), draw by draw: (R, N), or (R, block_size)."""
        if self.block_size is None or self.cells is None:
            return nats
        missing = -nats.shape[1] % self.block_size
        by_cell = torch.nn.functional.pad(nats, (0, missing)).view(-1, self.block_size)
        return by_cell.index_select(0, self.cells.to(nats.device, non_blocking=True))

    def is_target(self, lengths: Ints) -> npt.NDArray[np.bool_]:
        """Which columns of :meth:`by_draw` are targets, of which each draw has so many."""
        column, begin = np.arange(self.block_size or self.x0.shape[1]), self.context_lengths.numpy()[:, None]
        return np.asarray((begin <= column) & (column < begin + lengths[:, None]))

    def part(self, start: int, stop: int) -> PreparedBatch:
        """Rows start .. stop - 1 as a batch of their own."""
        if start == 0 and stop >= len(self):
            return self  # as it lies in page-locked memory
        length, rows, cells, draws = self.x0.shape[1], slice(start, stop), slice(start, stop), slice(start, stop)
        if self.block_size is not None and self.cells is not None:
            count = num_blocks(length, self.block_size)
            cells = slice(start * count, stop * count)
            draws = slice(*np.searchsorted(self.cells.numpy(), [cells.start, cells.stop]).tolist())
        ends = np.append(0, np.cumsum(self.num_masked))  # on the host, where the positions may not be
        masked = slice(ends[draws.start], ends[min(draws.stop, len(self.rows))])
        return PreparedBatch(
            self.rows[draws], self.x0[rows], self.context_lengths[draws], self.masked[rows], self.level[cells],
            self.positions[masked] - start * length, self.num_masked[draws], self.control[draws], self.block_size,
            None if self.cells is None else self.cells[draws] - cells.start,
        )  # fmt: skip

    def pinned(self) -> PreparedBatch:
        """A copy in page-locked memory, from which a GPU fetches while it computes."""
        tensors = {name: part.pin_memory() for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, level=self.level.each(torch.Tensor.pin_memory), **tensors)  # type: ignore[arg-type]  # those names are tensors


@final
@dataclass(frozen=True)
class DrawSource:
    """Makes the batches of a pass: tokens from the corpus, masks from the streams.

    Attributes:
        corpus: the token stream.
        spans: what of it is scored; the plan's rows index these.
        schedule: turns mask rates into noise levels.
        first_window: index in the corpus of ``spans[0]``; it addresses the noise.
        bigrams: counts of the spans, if they are there already.
    """

    corpus: Corpus
    spans: Spans
    schedule: NoiseSchedule
    first_window: int = 0
    bigrams: BigramCounts | None = None

    @cached_property
    def counts(self) -> BigramCounts:
        """Counts of the text."""
        return count_bigrams(self.corpus, self.spans) if self.bigrams is None else self.bigrams

    @cached_property
    def neighbours(self) -> NeighbourCode:
        """The model behind the control variate."""
        return NeighbourCode.of(self.counts)

    def deal(self, plan: DrawPlan, batch_tokens: int) -> list[list[Ints]]:
        """Rows of each batch, as the micro-batches in which it goes through the network."""
        return in_micro_batches(deal_draws(self.spans.input_lengths[plan.window], plan.mask_rate, batch_tokens))

    def longest(self, plan: DrawPlan) -> Ints:
        """Rows of two draws of the longest input, to see what they take; nothing is dealt for it."""
        lengths = self.spans.input_lengths[plan.window]
        return np.flatnonzero(lengths == lengths.max())[:2]

    def num_tokens(self, plan: DrawPlan, rows: Ints) -> int:
        """Tokens that go through the network for some draws."""
        return int(self.spans.input_lengths[plan.window[rows]].sum())

    def prepare(self, plan: DrawPlan, streams: RandomStreams, rows: Ints) -> PreparedBatch:
        """Tokens and masks of some draws, whose spans have one input length."""
        which = plan.window[rows]
        x0, lengths = stack_spans(self.corpus, self.spans, which), self.spans.lengths[which]
        noise, target = stack_mask_noise(
            streams, which + self.first_window, plan.sample[rows], lengths, input_length=x0.shape[1]
        )
        level = self.schedule.level_at(torch.from_numpy(plan.mask_rate[rows]))
        masked = size_biased_masks(noise, target, level)
        given = np.zeros(len(rows), dtype=np.int64) if plan.given is None else plan.given[rows]
        for row in np.flatnonzero(given):
            length = int(lengths[row])
            masked[row, -length:] = torch.from_numpy(mask_bits(given[row : row + 1], length)[0])
        positions = torch.from_numpy(np.flatnonzero(masked.numpy()))
        context_lengths = x0.shape[1] - lengths
        control = self.neighbours.control_of_batch(x0.numpy(), masked.numpy(), plan.mask_rate[rows], context_lengths)
        num_masked = masked.sum(dim=-1).numpy()
        return PreparedBatch(rows, x0, torch.from_numpy(context_lengths), masked, level, positions, num_masked, control)


def deal_draws(lengths: Ints, mask_rate: npt.NDArray[np.float64], batch_tokens: int) -> list[Ints]:
    """Split draws into batches of one input length, longest first, each with the same mixture of mask rates.

    Draws are ordered by mask rate and dealt to and fro like cards, so that the mean rates of two batches differ by less
    than one draw's share.

    Args:
        lengths: tokens that go through the network for each draw, (R,).
        mask_rate: mask rate of each draw, (R,).
        batch_tokens: tokens a batch, at least one row.

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


def consecutive(lengths: Ints, batch_tokens: int, context_lengths: Ints | None = None) -> Iterator[tuple[Ints, int]]:
    """Split rows into batches of one length each, and one context length, in order; yields (rows, length)."""
    contexts = np.zeros_like(lengths) if context_lengths is None else context_lengths
    for length, context in sorted(set(zip(lengths.tolist(), contexts.tolist(), strict=True)), reverse=True):
        rows = np.flatnonzero((lengths == length) & (contexts == context))
        size = max(batch_tokens // max(length, 1), 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size], length


def stack_spans(corpus: Corpus, spans: Spans, which: Ints) -> Tensor:
    """Tokens of spans of one input length, context and targets, (B, N) int64."""
    starts, ends = spans.context_starts[which], spans.ends[which]
    return torch.from_numpy(
        np.stack([corpus.read(int(start), int(end)) for start, end in zip(starts, ends, strict=True)])
    )


def prepare_ahead(
    source: Source,
    plan: DrawPlan,
    streams: RandomStreams,
    batches: Iterable[npt.NDArray[np.int64]],
    *,
    pin_memory: bool,
    most_ahead: Callable[[], int] = lambda: _MAX_AHEAD,
) -> Generator[PreparedBatch, None, None]:
    """Prepare batches in a thread while the network works on earlier ones; they come in order.

    One thread: more of them would wait for the interpreter, and keep it from whoever launches the network.

    Args:
        source: makes them.
        plan: the draws.
        streams: their noise.
        batches: rows of each; they are asked for as they are needed.
        pin_memory: what the host makes is to lie in page-locked memory.
        most_ahead: how many may be on their way now, beside the one that is handed out.
    """

    def prepare(rows: npt.NDArray[np.int64]) -> PreparedBatch:
        prepared = source.prepare(plan, streams, rows)
        return prepared.pinned() if pin_memory and prepared.x0.device.type == "cpu" else prepared

    pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    waiting: deque[Future[PreparedBatch]] = deque()
    try:
        for rows in batches:
            waiting.append(pool.submit(prepare, rows))
            while len(waiting) > most_ahead():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@final
class FittingBatches:
    """Runs batches in parts that fit, and remembers what did.

    Args:
        device: whose memory it is.

    Attributes:
        largest: rows that fit, once a batch did not.
        remarks: every halving.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._retries_before = _num_retries(device)
        self.largest: int | None = None
        self.remarks: list[Remark] = []

    @property
    def is_tight(self) -> bool:
        """Whether a batch did not fit, or only after the allocator had given back what it kept."""
        return self.largest is not None or _num_retries(self._device) > self._retries_before

    def run(self, num_rows: int, work: Callable[[slice], T]) -> list[T]:
        """Do the work of a batch, in as few parts as fit; one result a part.

        Raises:
            NumericsError: if a single row does not fit.
        """
        size = min(self.largest or num_rows, num_rows)
        while True:
            try:
                return [work(slice(start, start + size)) for start in range(0, num_rows, size)]
            except torch.OutOfMemoryError:
                fits = size > 1
            # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
            if not fits:
                raise NumericsError(
                    f"one window alone does not fit into the memory of {self._device}",
                    hint="pass a shorter --context, --dtype bfloat16 or --device cpu",
                )
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            halved = (size + 1) // 2
            message = f"a batch of {size} windows does not fit into memory: going on with {halved}"
            LOG.warning("bpb-eval: %s", message)
            self.remarks.append(Remark("batch-halved", message))
            self.largest = size = halved


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory that was held on a GPU, what the allocator kept for later among it; None on a CPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def _num_retries(device: torch.device) -> int:
    """How often the allocator of a GPU had to give back what it kept to find room."""
    if device.type != "cuda":
        return 0
    return int(torch.cuda.memory_stats_as_nested_dict(device).get("num_alloc_retries", 0))
