"""What the chosen spans are claimed to cost, estimated again: by independent rates, or by the score's own method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.denoiser import CausalLM, num_clean_tokens
from bpb_harness.estimators import AutoregressiveCode, Bound, ChainRule, ExactBound, prior_nats
from bpb_harness.evaluation.batches import DrawSource, deal_draws, stack_spans
from bpb_harness.evaluation.draws import plan_draws
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.design import IndependentDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_DRAWS, MAX_DRAWS = 8, 64


@final
@dataclass(frozen=True)
class Claim:
    """Of some spans.

    Attributes:
        nats: of each, (N,).
        variance: of each estimate, (N,) nats squared; 0 where nothing was drawn.
        num_draws: K; 0 where nothing was drawn.
        degrees_of_freedom: of each variance, (N,); K - 1 of K draws of a span; None where nothing was drawn.
    """

    nats: Floats
    variance: Floats
    num_draws: int
    degrees_of_freedom: Floats | None = None


def claim_again(job: Job, windows: Ints, spans: Spans, streams: RandomStreams, batches: Sequence[Ints]) -> Claim:
    """Score some spans anew, on the network of the job.

    Args:
        job: the evaluation; its network.
        windows: index of each span among those that were scored.
        spans: the spans themselves.
        streams: of the masks; those of the score do not enter.
        batches: spans that are coded together: where rounding decides an order, it is to decide alike.
    """
    estimator = job.estimators[0]
    with torch.inference_mode():
        if isinstance(estimator, Bound):
            return _sampled(job, estimator, spans, streams)
        if isinstance(estimator, ExactBound):
            return _enumerated(job, replace(estimator, streams=streams), windows, spans)
        nats = np.zeros(len(windows))
        for places in batches:
            nats[places] = _exact(job, estimator, windows[places], spans.take(places))
    return Claim(nats, np.zeros(len(nats)), 0)


def _exact(job: Job, estimator: ChainRule | AutoregressiveCode, windows: Ints, spans: Spans) -> Floats:
    tokens = stack_spans(job.text.corpus, spans, np.arange(len(spans))).to(job.device)
    context, model = int(spans.context_lengths[0]), job.model
    if isinstance(estimator, AutoregressiveCode):
        assert isinstance(model, CausalLM)
        nats = estimator.token_nats(model, tokens[:, :-1], tokens[:, 1:])[:, context - 1 :]
    else:
        nats = estimator.token_nats(job.denoiser, tokens, windows, context_length=context)
    return np.asarray(nats.sum(dim=1).cpu().numpy())


def _enumerated(job: Job, exact: ExactBound, windows: Ints, spans: Spans) -> Claim:
    """All masks of each span; the rates that a network is told are drawn anew, where they are drawn."""
    columns = np.zeros((len(spans), 3))
    for place in range(len(spans)):
        row = np.array([place])
        bound = exact.span_bounds(
            job.denoiser, stack_spans(job.text.corpus, spans, row).to(job.device), windows[row],
            context_length=int(spans.context_lengths[place]),
        )  # fmt: skip
        columns[place] = bound.nats[0], bound.variance[0], bound.squared_variances[0]
    nats, variance, squares = columns.T
    if not job.draws_levels:
        return Claim(nats, variance, 0)
    degrees = (exact.num_samples - 1) * variance**2 / np.where(squares > 0.0, squares, 1.0)
    return Claim(nats, variance, exact.num_samples, degrees)


def _sampled(job: Job, bound: Bound, spans: Spans, streams: RandomStreams) -> Claim:
    denoiser, schedule = job.denoiser, bound.schedule
    asked = 1 if bound.num_samples == "all" else bound.num_samples
    # Rates apart cost far more errors than steps do: as many draws as one coding takes calls, within limits.
    count = max(MIN_DRAWS, asked, min(MAX_DRAWS, int(spans.lengths.max())))
    design = IndependentDesign(streams, len(spans), count)
    plan = plan_draws(replace(bound, num_samples=count), len(spans), design)
    source = DrawSource(job.text.corpus, spans, schedule)
    runner = MaskedNllRunner(denoiser, job.device, dtype=job.settings.torch_dtype())
    values = np.zeros(len(plan))
    tokens = min(job.settings.tokens_per_batch(job.device), (1 << 29) // (4 * denoiser.vocab_size))
    for rows in deal_draws(spans.input_lengths[plan.window], plan.mask_rate, tokens):
        prepared = source.prepare(plan, streams, rows)
        values[rows] = runner.row_nats(prepared).cpu().numpy() / prepared.num_masked
    lengths = spans.lengths[:, None]
    each = schedule.max_mask_rate * lengths * values.reshape(len(spans), count)
    prior = np.array([prior_nats(schedule, int(length), num_clean_tokens(denoiser)) for length in spans.lengths])
    return Claim(each.mean(axis=1) + prior, each.var(axis=1, ddof=1) / count, count, np.full(len(spans), count - 1.0))
