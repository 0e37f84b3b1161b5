"""Running the draws of a bound: a plan goes in, a table of sums comes back.

Nothing here knows which bound it runs, and no sum crosses draws: the table is the same for every batch size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import require_finite
from bpb_harness.distributed import Deal, Processes
from bpb_harness.errors import InputError, NumericsError
from bpb_harness.estimators import Bound
from bpb_harness.evaluation.batches import DrawPlan, PreparedBatch, Source, prepare_ahead
from bpb_harness.evaluation.cuda_streams import CudaStreams
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.control_variate import subtract_control
from bpb_harness.sampling.design import IndependentDesign, StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.statistics.rare_costs import DrawnCosts
from bpb_harness.text.document_pieces import Stretches
from bpb_harness.text.spans import Spans

Advance = Callable[[int], None]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MAX_IN_FLIGHT = 4
_TOKENS_AT_ONCE = 1 << 22  # whose nats travel between processes
_UNITS_PER_NAT = float(1 << 32)


@final
@dataclass(frozen=True)
class DrawTable:
    """A plan with what the network said.

    Attributes:
        plan: the draws.
        num_masked: |M|, (R,) int64.
        nats: C(x, M; t), (R,) float64.
        control: control variate of each mask, (R,) nats per masked token, of mean 0.
        token_nats: what each scored token, or each stretch of them, adds to its span's bound, beside the prior, in the
            order of the spans; None unless asked for.
        num_kept: draws that an earlier run has done.
        num_forward_tokens: tokens that went through the network for the others.
    """

    plan: DrawPlan
    num_masked: Ints
    nats: Floats
    control: Floats
    token_nats: Floats | None = None
    num_kept: int = 0
    num_forward_tokens: int = 0

    @cached_property
    def nats_per_masked(self) -> Floats:
        """C / |M| less what the control variate explains of it, (R,); its mean at u is f(u)."""
        plan, drawn = self.plan, np.flatnonzero(self.plan.is_drawn)
        value = self.nats / self.num_masked
        value[drawn] = subtract_control(
            value[drawn], self.control[drawn], plan.mask_rate[drawn], self.num_masked[drawn], plan.window[drawn],
            int((drawn < plan.num_weighed).sum()),
        )  # fmt: skip
        return value

    @property
    def costs(self) -> DrawnCosts:
        """What the masks that were drawn and enter a total cost."""
        plan = self.plan
        rows = np.flatnonzero(plan.is_drawn[: plan.num_weighed])
        return DrawnCosts(
            plan.window[rows], self.nats[rows] / self.num_masked[rows], plan.mask_rate[rows], self.num_masked[rows]
        )


@final
@dataclass(frozen=True)
class FinishedDraws:
    """Draws that are done.

    Attributes:
        rows: of the plan, (n,).
        nats: C(x, M; t), (n,).
        num_masked: |M|, (n,).
        control: control variate of each mask, (n,).
        where: the line of a file that they were read from, for messages.
    """

    rows: Ints
    nats: Floats
    num_masked: Ints
    control: Floats
    where: str = ""


def plan_draws(bound: Bound, num_windows: int, design: StratifiedDesign | IndependentDesign | None) -> DrawPlan:
    """Lay out the draws of a bound: K positions of the design in each window, or every node of its grid."""
    if bound.num_samples == "all":
        rates, weights = bound.nodes()
        upper = torch.cumsum(weights, 0)
        position = (upper - weights / 2.0) / bound.schedule.max_mask_rate
        count = len(rates)
        return DrawPlan(
            np.repeat(np.arange(num_windows), count),
            np.tile(np.arange(count), num_windows),
            np.tile(position.numpy(), num_windows),
            np.tile(rates.numpy(), num_windows),
            np.tile(weights.numpy(), num_windows),
        )
    assert design is not None
    count, replicated = bound.num_samples, design.replicated
    position = torch.from_numpy(np.append(design.positions.ravel(), design.replicate_positions))
    return DrawPlan(
        np.append(np.repeat(np.arange(num_windows), count), replicated),
        np.append(np.tile(np.arange(count), num_windows), np.full(len(replicated), count)),
        position.numpy(),
        bound.mask_rate(position).numpy(),
        np.append(np.full(num_windows * count, bound.draw_weight), np.zeros(len(replicated))),
        len(replicated),
        is_independent=isinstance(design, IndependentDesign),
    )


def run_draws(
    runner: MaskedNllRunner,
    source: Source,
    plan: DrawPlan,
    streams: RandomStreams,
    *,
    device: torch.device,
    batch_tokens: int,
    processes: Processes | None = None,
    finished: Sequence[FinishedDraws] = (),
    keep: Callable[[FinishedDraws], None] | None = None,
    keep_tokens: bool = False,
    stretches: Stretches | None = None,
    advance: Advance | None = None,
) -> DrawTable:
    """Score every draw of a plan.

    Args:
        runner: runs the network.
        source: the text.
        plan: which masks to draw.
        streams: the masks' noise.
        device: where the network runs.
        batch_tokens: forward tokens a call, at least one row.
        processes: shares the batches; alone if None.
        finished: draws that an earlier run has done.
        keep: called with draws as they finish, to store them.
        keep_tokens: also keep what each token adds.
        stretches: keep it of these alone, each of several tokens of one span.
        advance: called with the number of tokens that went through the network.

    Raises:
        NumericsError: where the network gives NaN, or infinitely many bits.
    """
    together = processes or Processes()
    # 1. What is done already, and the batches that are left
    work = _Collection(plan, keep, _TokenNats(source.spans, plan, stretches) if keep_tokens else None)
    for done in finished:
        work.take(done)
    is_kept = ~np.isnan(work.nats)
    batches = [[rows for rows in parts if not is_kept[rows].all()] for parts in source.deal(plan, batch_tokens)]
    dealt = [micro_batches for micro_batches in batches if micro_batches]
    drawn = [*chain.from_iterable(dealt)]
    if advance is not None and not together.rank:
        rows = np.delete(np.arange(len(plan)), np.concatenate(drawn) if drawn else [])
        advance(source.num_tokens(plan, rows))
    # 2. Through the network, in all processes
    deal = together.deal(dealt)
    for part in together.together(partial(work.run, runner, source, streams, deal, device, advance, together)):
        for done in part:
            work.take(done)
    assert not np.isnan(work.nats).any(), "every draw is done by one process"
    # 3. One table
    return DrawTable(
        plan, work.num_masked, work.nats, work.control, None if work.tokens is None else work.tokens.of_all(together),
        num_kept=int(is_kept.sum()), num_forward_tokens=sum(source.num_tokens(plan, rows) for rows in drawn),
    )  # fmt: skip


@final
class _Collection:
    """The table while it fills."""

    def __init__(self, plan: DrawPlan, keep: Callable[[FinishedDraws], None] | None, tokens: _TokenNats | None) -> None:
        self._plan, self._keep, self.tokens = plan, keep, tokens
        self.nats = np.full(len(plan), np.nan)
        self.num_masked = np.zeros(len(plan), dtype=np.int64)
        self.control = np.zeros(len(plan))
        self._in_flight: deque[tuple[PreparedBatch, Tensor, torch.cuda.Event | None]] = deque()

    def take(self, done: FinishedDraws) -> None:
        """Enter draws that are done.

        Raises:
            InputError: if the plan has no such draws.
        """
        if len(done.rows) and not 0 <= done.rows.min() <= done.rows.max() < len(self._plan):
            seen = f"row {done.rows.max()}"
            raise InputError("a file of draws is damaged", seen=seen, expected=f"rows 0 .. {len(self._plan) - 1}")
        self.nats[done.rows], self.num_masked[done.rows] = done.nats, done.num_masked
        self.control[done.rows] = done.control

    def run(
        self,
        runner: MaskedNllRunner,
        source: Source,
        streams: RandomStreams,
        deal: Deal[list[Ints]],
        device: torch.device,
        advance: Advance | None,
        processes: Processes,
    ) -> list[FinishedDraws]:
        """Run this process's batches; what an interruption leaves in flight is waited for and kept."""
        batches = prepare_ahead(
            source, self._plan, streams, chain.from_iterable(deal), pin_memory=device.type == "cuda",
            most_ahead=lambda: deal.most_ahead,
        )  # fmt: skip
        # The nats of tokens are waited for at once, so that a second batch would only take its memory.
        num_streams = runner.num_streams if self.tokens is None else 1
        in_turn = CudaStreams(device, num_streams) if num_streams > 1 else None
        results: list[FinishedDraws] = []
        # Closed here: left to the collector of garbage, it may be closed in the thread whose end it waits for.
        with closing(batches):
            try:
                was_alone = False
                for prepared in batches:
                    is_alone = runner.runs_alone(prepared)
                    while (is_alone or was_alone) and self._in_flight:
                        results.append(self._finish())
                    was_alone = is_alone
                    with nullcontext() if in_turn is None else in_turn.next(1 if is_alone else runner.num_streams):
                        self._launch(runner, prepared)
                    most = _MAX_IN_FLIGHT if deal.most_ahead > 1 else 1
                    while self._in_flight and self._is_ready(most):
                        results.append(self._finish())
                    if advance is not None and processes.is_first:
                        advance(prepared.num_tokens * processes.count)
            finally:
                while self._in_flight:
                    results.append(self._finish())
        runner.watch.check()  # now that all answers are here
        return results

    def _launch(self, runner: MaskedNllRunner, prepared: PreparedBatch) -> None:
        nats = runner.token_nats(prepared)
        if self.tokens is not None:
            self.tokens.add(prepared, nats.cpu())
        self._in_flight.append((prepared, *_fetch(nats.sum(dim=-1))))

    def _is_ready(self, most: int) -> bool:
        event = self._in_flight[0][2]
        return event is None or len(self._in_flight) > most or bool(event.query())  # type: ignore[no-untyped-call]

    def _finish(self) -> FinishedDraws:
        """Wait for the oldest batch in flight, refuse what is no number, and keep it."""
        prepared, values, event = self._in_flight.popleft()
        if event is not None:
            event.synchronize()
        try:
            nats = require_finite(values, lambda row: self._name(prepared.rows[row])).numpy()
        except NumericsError:
            self._in_flight.clear()
            raise
        # An earlier run in other batches may have some of these draws: its own stay, and no draw is kept twice.
        new = np.isnan(self.nats[prepared.rows])
        done = FinishedDraws(prepared.rows[new], nats[new], prepared.num_masked[new], prepared.control[new])
        if self._keep is not None:
            self._keep(done)
        return done

    def _name(self, row: int) -> str:
        return f"the network's score of window {self._plan.window[row]} (mask rate {self._plan.mask_rate[row]:.4f})"


@final
class _TokenNats:
    """What each token, or each stretch of them, adds to its span's bound, over all draws.

    What a draw adds to a token is rounded to 2^-32 nats, so that sums of it are exact up to two million nats: they do
    not hang on their order, on batches, on who scored what, nor on whether tokens or stretches are kept.
    """

    def __init__(self, spans: Spans, plan: DrawPlan, stretches: Stretches | None) -> None:
        self._plan, self._lengths, self._stretches = plan, spans.lengths, stretches
        self._offset = np.cumsum(self._lengths) - self._lengths
        self._first = None if stretches is None else stretches.of_spans(self._lengths)
        self.nats = np.zeros(int(self._lengths.sum()) if stretches is None else len(stretches.ends))

    def add(self, prepared: PreparedBatch, nll: Tensor) -> None:
        """Add the draws of a batch; nll is a row a draw."""
        which = self._plan.window[prepared.rows]
        lengths = self._lengths[which]
        scale = self._plan.weight[prepared.rows] * lengths / prepared.num_masked
        values = (nll.numpy() * (scale * _UNITS_PER_NAT)[:, None])[prepared.is_target(lengths)]
        values = np.rint(values, out=values)
        values /= _UNITS_PER_NAT
        ends = np.cumsum(lengths)
        where = _runs(self._offset[which], lengths)
        if self._stretches is not None and self._first is not None:
            counts = self._first[which + 1] - self._first[which]
            where = _runs(self._first[which], counts)
            begins = self._stretches.ends[where] - self._stretches.lengths[where]
            values = np.add.reduceat(values, begins - np.repeat(self._offset[which] - (ends - lengths), counts))
        np.add.at(self.nats, where, values)

    def of_all(self, processes: Processes) -> Floats:
        """What the draws of all processes add."""
        for start in range(0, len(self.nats), _TOKENS_AT_ONCE):  # views, whose memory the sums take
            processes.add([torch.from_numpy(self.nats[start : start + _TOKENS_AT_ONCE])])
        return self.nats


def _runs(starts: Ints, counts: Ints) -> Ints:
    """Whole numbers from each start on, so many, end to end."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(ends[-1])) + np.repeat(starts - (ends - counts), counts))


def _fetch(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start to move values to the host; they are there once the event has passed."""
    if values.device.type != "cuda":
        return values, None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return host, event


def merge_passes(tables: Sequence[DrawTable]) -> DrawTable:
    """Passes of one bound as one table, each draw at its share of the weight, in the order of windows and passes.

    The samples of pass p count on from those of pass p - 1.
    """
    assert all(table.plan.given is None and not table.plan.is_independent for table in tables), "answers have one pass"
    per_pass = 1 + max(int(table.plan.sample.max()) for table in tables)
    window = np.concatenate([table.plan.window for table in tables])
    sample = np.concatenate([table.plan.sample + index * per_pass for index, table in enumerate(tables)])
    is_replicate = np.concatenate([np.arange(len(table.plan)) >= table.plan.num_weighed for table in tables])
    order = np.lexsort((sample, window, is_replicate))

    def joined(parts: list[npt.NDArray[np.float64]]) -> Floats:
        return np.concatenate(parts)[order]

    plan = DrawPlan(
        window[order],
        sample[order],
        joined([table.plan.position for table in tables]),
        joined([table.plan.mask_rate for table in tables]),
        joined([table.plan.weight / len(tables) for table in tables]),
        int(is_replicate.sum()),
    )
    tokens = [table.token_nats for table in tables if table.token_nats is not None]
    return DrawTable(
        plan,
        np.concatenate([table.num_masked for table in tables])[order],
        joined([table.nats for table in tables]),
        joined([table.control for table in tables]),
        np.sum(tokens, axis=0) / len(tables) if tokens else None,
        num_kept=sum(table.num_kept for table in tables),
        num_forward_tokens=sum(table.num_forward_tokens for table in tables),
    )
