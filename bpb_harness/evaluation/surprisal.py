"""What each token is expected to cost over mask rates: non-negative, unbiased, with an error of its own.

The bound is a sum over its targets: target i costs alpha(1) ln V + u_max E[-log p(x_i | visible; t)], the expectation
over the bound's own mask rates, and over masks in which i is hidden and every other target is with probability u
(MATHS.md, section 12). K rates of each span, one in every K-th of the range, each price every target once: a token's
estimate is a plain mean of K costs. No weight blows one up, and none is negative.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.denoiser import masked_token_nll, num_clean_tokens, require_finite
from bpb_harness.distributed import Processes
from bpb_harness.estimators import Bound, prior_nats
from bpb_harness.evaluation.batches import FittingBatches, consecutive, stack_spans
from bpb_harness.evaluation.job import Job, TokenCount
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.evaluation.span_scores import SpanNats
from bpb_harness.result import Remark
from bpb_harness.sampling.arcs import arcs, num_arcs
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SPANS_AT_ONCE = 64


@final
@dataclass(frozen=True)
class Surprisal:
    """The expected cost of each target, in the order of the spans.

    Attributes:
        nats: of each, (T,), 0 or more.
        variance: of each estimate, (T,) nats squared; 0 where nothing was drawn.
        num_forward_tokens: tokens that went through the network for them.
        seconds: wall clock.
        remarks: what a reader should know.
    """

    nats: Floats
    variance: Floats
    num_forward_tokens: int = 0
    seconds: float = 0.0
    remarks: tuple[Remark, ...] = ()


def surprisal_of_sampled(job: Job, bound: SampledBound, processes: Processes) -> Surprisal:
    """Expected costs of tokens under a sampled bound; of answers whose masks were all gone through they are what these
    say.
    """
    plan, lengths = bound.table.plan, bound.layout.lengths
    is_drawn = np.bincount(plan.window[plan.is_drawn], minlength=len(lengths)) > 0
    of_tokens, drawn = np.repeat(is_drawn, lengths), np.flatnonzero(is_drawn)
    assert bound.token_nats is not None
    nats, variance = bound.token_nats.copy(), np.zeros(len(of_tokens))
    sampled = sample_surprisal(job, bound.layout.spans, drawn, bound.bound, processes)
    nats[of_tokens], variance[of_tokens] = sampled.nats, sampled.variance
    return replace(sampled, nats=nats, variance=variance)


def surprisal_of_known(job: Job, scored: SpanNats) -> Surprisal | None:
    """Expected costs of tokens where no masks are drawn: a code length, or the mean over all masks."""
    if not job.settings.surprisal:
        return None
    unknown = scored.token_variance
    return Surprisal(scored.token_nats, np.zeros(len(scored.token_nats)) if unknown is None else unknown)


def sample_surprisal(job: Job, every: Spans, which: Ints, bound: Bound, processes: Processes) -> Surprisal:
    """Draw masks until every target of some spans was priced K times.

    Args:
        job: the evaluation; its settings say K.
        every: what is scored.
        which: spans to price, ascending; their numbers address the noise.
        bound: whose mask rates are drawn.
        processes: share the spans.

    Raises:
        NumericsError: where the network gives NaN, or infinitely many bits.
    """
    if not len(which):
        return Surprisal(np.zeros(0), np.zeros(0))
    begin, spans = time.perf_counter(), every.take(which)
    rounds = _Rounds(job, spans, which, bound)
    count = TokenCount(job.progress, rounds.num_forward_tokens)
    size = job.settings.tokens_per_batch(job.device)
    shapes = consecutive(spans.input_lengths, _SPANS_AT_ONCE * int(spans.input_lengths.max()), spans.context_lengths)
    chunks = [rows for rows, _ in shapes]
    fitting = FittingBatches(job.device)

    deal = processes.deal(chunks)

    def share() -> list[tuple[Ints, Floats, Floats]]:
        priced = []
        for rows in deal:
            priced.append((rows, *rounds.price(rows, size, fitting)))
            if processes.is_first:
                count(rounds.tokens_of(rows) * processes.count)
        return priced

    lengths = spans.lengths
    offset = np.cumsum(lengths) - lengths
    nats, variance = np.zeros(int(lengths.sum())), np.zeros(int(lengths.sum()))
    for part in processes.together(share):
        for rows, costs, variances in part:
            where = (offset[rows, None] + np.arange(lengths[rows[0]])).ravel()
            nats[where], variance[where] = costs.ravel(), variances.ravel()
    most = bound.schedule.max_mask_rate
    prior = prior_nats(bound.schedule, 1, num_clean_tokens(job.denoiser))
    return Surprisal(
        prior + most * nats, most**2 * variance, rounds.num_forward_tokens, time.perf_counter() - begin,
        tuple(fitting.remarks),
    )  # fmt: skip


@final
class _Rounds:
    """The rounds of all spans: each of K mask rates, with the places of the targets."""

    def __init__(self, job: Job, spans: Spans, numbers: Ints, bound: Bound) -> None:
        self._job, self._spans, self._numbers, self._bound = job, spans, numbers, bound
        self._count = job.settings.surprisal_draws
        self._streams = RandomStreams(job.settings.seed)
        self._calls = np.array([self._num_calls(span) for span in range(len(spans))], dtype=np.int64)

    @property
    def num_forward_tokens(self) -> int:
        """Of all rounds."""
        return int((self._calls * self._spans.input_lengths).sum())

    def tokens_of(self, rows: Ints) -> int:
        """Of the rounds of some spans."""
        return int((self._calls[rows] * self._spans.input_lengths[rows]).sum())

    def price(self, rows: Ints, batch_tokens: int, fitting: FittingBatches) -> tuple[Floats, Floats]:
        """Mean cost of each target of spans of one shape, and its variance, (B, L) each.

        Two neighbouring strata differ in their mean, so that half the square of the difference of their costs is, if
        anything, too large a variance (collapsed strata; Cochran, Sampling Techniques, section 5A.12).
        """
        length = int(self._spans.lengths[rows[0]])
        sums, squares = np.zeros((len(rows), length)), np.zeros((len(rows), length))
        before = sums
        for draw in range(self._count):
            costs = self._round(rows, draw, batch_tokens, fitting)
            sums += costs
            if draw % 2:
                squares += (costs - before) ** 2
            before = costs
        return sums / self._count, squares / self._count**2

    def _round(self, rows: Ints, draw: int, batch_tokens: int, fitting: FittingBatches) -> Floats:
        """The cost of each target at one mask rate a span, (B, L)."""
        x0 = stack_spans(self._job.text.corpus, self._spans, rows)
        context, length = int(self._spans.context_lengths[rows[0]]), int(self._spans.lengths[rows[0]])
        masks = [self._masks(int(span), draw) for span in rows]
        which = np.repeat(np.arange(len(rows)), [len(own) for _, own, _ in masks])
        hidden, own = (np.concatenate([each[part] for each in masks]) for part in (0, 1))
        rates = np.array([mask_rate for _, _, mask_rate in masks])[which]
        costs = np.zeros((len(rows), length))
        for batch in _batches(len(which), x0.shape[1], batch_tokens):
            ask = partial(self._ask, x0[which[batch]], hidden[batch], rates[batch], context)
            with torch.inference_mode():
                nll = torch.cat(fitting.run(len(batch), ask)).cpu()
            numbers = self._numbers[rows[which[batch]]]
            require_finite(nll.sum(dim=-1), partial(_name, numbers))
            np.add.at(costs, which[batch], np.where(own[batch], nll.numpy()[:, context:], 0.0))
        return costs

    def _ask(self, x0: torch.Tensor, hidden: Bools, rates: Floats, context: int, part: slice) -> torch.Tensor:
        job = self._job
        assert job.schedule is not None
        masked = torch.from_numpy(np.pad(hidden[part], ((0, 0), (context, 0)))).to(job.device)
        level = job.schedule.level_at(torch.from_numpy(rates[part])).to(job.device)
        contexts = torch.full((len(masked),), context, device=job.device)
        return masked_token_nll(job.denoiser, x0[part].to(job.device), masked, level, context_lengths=contexts)

    def _masks(self, span: int, draw: int) -> tuple[Bools, Bools, float]:
        """Which targets each mask of a round hides, which of them it prices, and the mask rate."""
        places, mask_rate = self._places(span, draw)
        return *arcs(places, mask_rate), mask_rate

    def _places(self, span: int, draw: int) -> tuple[Floats, float]:
        within, places = self._streams.circle(int(self._numbers[span]), draw, int(self._spans.lengths[span]))
        v = torch.tensor([(draw + within) / self._count], dtype=torch.float64)
        return places, float(self._bound.mask_rate(v)[0])

    def _num_calls(self, span: int) -> int:
        return sum(num_arcs(*self._places(span, draw)) for draw in range(self._count))


def _name(numbers: Ints, row: int) -> str:
    return f"the network's score of window {numbers[row]}"


def _batches(num_rows: int, length: int, batch_tokens: int) -> Iterator[Ints]:
    size = max(batch_tokens // max(length, 1), 1)
    for start in range(0, num_rows, size):
        yield np.arange(start, min(start + size, num_rows))
