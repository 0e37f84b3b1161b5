"""Scores without sampling: exact enumeration, the chain rule, autoregressive models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser, require_finite
from bpb_harness.distributed import Processes
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ExactBound
from bpb_harness.evaluation.batches import FittingBatches, consecutive, peak_memory_bytes, stack_spans
from bpb_harness.evaluation.draws import Advance
from bpb_harness.result import Remark
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_ALL = slice(None)
Run = Callable[[Callable[[Ints, int, int], tuple[Tensor, int]], Ints, Ints, Ints], "SpanNats"]


@final
@dataclass(frozen=True)
class SpanNats:
    """What a method that does not sample says.

    Attributes:
        nats: of each span, (N,) float64.
        variance: of each span's estimate, (N,) float64 nats squared; None where nothing was drawn.
        squared_variances: sums of the squares behind it, (N,); see :class:`bpb_harness.estimators.EnumeratedBound`.
        token_variance: of each token's estimate; None where nothing was drawn.
        token_nats: of each scored token, in the order of the spans.
        num_forward_tokens: tokens that went through the network.
        peak_memory_bytes: the most memory held on one GPU; None on a CPU.
        remarks: what a reader of the score should know.
        steps: of the chain rule: in which step each token was revealed, in the order of the spans.
    """

    nats: npt.NDArray[np.float64]
    token_nats: npt.NDArray[np.float64]
    num_forward_tokens: int
    peak_memory_bytes: int | None
    remarks: list[Remark]
    steps: npt.NDArray[np.int64] | None = None
    variance: npt.NDArray[np.float64] | None = None
    squared_variances: npt.NDArray[np.float64] | None = None
    token_variance: npt.NDArray[np.float64] | None = None

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What of a code length is kept of a part of the spans; :meth:`of_arrays` of several, end to end, is theirs."""
        kept = {"nats": self.nats, "token_nats": self.token_nats, "forward_tokens": np.array([self.num_forward_tokens])}
        return kept if self.steps is None else kept | {"steps": self.steps}

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], peak_memory_bytes: int | None, remarks: list[Remark]
    ) -> Self:
        """A code length whose parts were scored one after another."""
        forward_tokens = int(arrays["forward_tokens"].sum())
        return cls(
            arrays["nats"], arrays["token_nats"], forward_tokens, peak_memory_bytes, remarks, arrays.get("steps")
        )


def score_spans(
    estimator: ExactBound | ChainRule | AutoregressiveCode,
    model: Denoiser | CausalLM,
    corpus: Corpus,
    spans: Spans,
    *,
    device: torch.device,
    batch_tokens: int,
    processes: Processes,
    advance: Advance | None = None,
    part: slice = _ALL,
) -> SpanNats:
    """Enumerate masks, follow the chain rule, or ask a causal model, span by span.

    ``part`` is which of the spans, one after the other; what is drawn for a span depends on its index among all.
    """
    run = partial(_run, device=device, batch_tokens=batch_tokens, processes=processes, advance=advance, part=part)
    if isinstance(estimator, AutoregressiveCode):
        assert isinstance(model, CausalLM)
        return _score_causal(estimator, model, corpus, spans, device, run)
    assert isinstance(model, Denoiser)
    if isinstance(estimator, ExactBound):
        return _enumerate(estimator, model, corpus, spans, device, run, part)
    return _follow_chain(estimator, model, corpus, spans, device, processes, run, part)


def _score_causal(
    estimator: AutoregressiveCode, model: CausalLM, corpus: Corpus, spans: Spans, device: torch.device, run: Run
) -> SpanNats:
    """The last token of a span is predicted and not read."""

    def row_nats(rows: Ints, length: int, _context: int) -> tuple[Tensor, int]:
        tokens = stack_spans(corpus, spans, rows).to(device)
        return estimator.token_nats(model, tokens[:, :-1], tokens[:, 1:]).cpu(), len(rows) * length

    return run(row_nats, spans.input_lengths - 1, np.zeros_like(spans.starts), spans.lengths)


def _enumerate(
    estimator: ExactBound, denoiser: Denoiser, corpus: Corpus, spans: Spans, device: torch.device, run: Run, part: slice
) -> SpanNats:
    told = denoiser.time_conditioned

    def row_nats(rows: Ints, length: int, context: int) -> tuple[Tensor, int]:
        x0 = stack_spans(corpus, spans, rows).to(device)
        bound = estimator.span_bounds(denoiser, x0, rows, context_length=context)
        columns = [bound.nats, bound.variance, bound.squared_variances]
        values = np.hstack([np.stack(columns, axis=1), bound.token_nats, bound.token_variance])
        return torch.from_numpy(values), len(rows) * length * estimator.passes(length - context, time_conditioned=told)

    lengths = spans.lengths
    scored = run(row_nats, spans.input_lengths, spans.context_lengths, 3 + 2 * lengths)
    lengths = lengths[part]
    columns, of_tokens = _parted(scored.token_nats, 3, 2 * lengths)
    nats, variance, squares = columns.reshape(-1, 3).T
    token_nats, token_variance = _parted(of_tokens, lengths, lengths)
    found = replace(scored, nats=nats, token_nats=token_nats)
    if not estimator.draws_levels(time_conditioned=told):
        return found
    return replace(found, variance=variance, squared_variances=squares, token_variance=token_variance)


def _parted(values: Floats, first: Ints | int, rest: Ints) -> tuple[Floats, Floats]:
    """Rows that lie end to end, parted into their first values and all others."""
    counts = np.stack([np.broadcast_to(first, rest.shape), rest], axis=1).ravel()
    is_first = np.repeat(np.arange(len(counts)) % 2 == 0, counts)
    return values[is_first], values[~is_first]


def _follow_chain(
    estimator: ChainRule,
    denoiser: Denoiser,
    corpus: Corpus,
    spans: Spans,
    device: torch.device,
    processes: Processes,
    run: Run,
    part: slice,
) -> SpanNats:
    steps: dict[int, Ints] = {}

    def row_nats(rows: Ints, length: int, context: int) -> tuple[Tensor, int]:
        nats, revealed = estimator.reveal(
            denoiser, stack_spans(corpus, spans, rows).to(device), rows, context_length=context
        )
        steps.update(zip(rows.tolist(), revealed.cpu().numpy(), strict=True))
        return nats.cpu(), len(rows) * length * estimator.passes(length - context)

    scored = run(row_nats, spans.input_lengths, spans.context_lengths, spans.lengths)
    for others in processes.gather(steps):
        steps |= others
    return replace(scored, steps=np.concatenate([steps[row] for row in range(len(spans))[part]]))


def _run(
    score: Callable[[Ints, int, int], tuple[Tensor, int]],
    input_lengths: Ints,
    context_lengths: Ints,
    paid_lengths: Ints,
    *,
    batch_tokens: int,
    device: torch.device,
    processes: Processes,
    advance: Advance | None,
    part: slice,
) -> SpanNats:
    """Score rows in batches of one shape; only the last ``paid_lengths`` columns of each row are its to pay."""
    which = np.arange(len(input_lengths))[part]
    dealt = consecutive(input_lengths[part], batch_tokens, context_lengths[part])
    batches, fitting = [(which[rows], length) for rows, length in dealt], FittingBatches(device)

    deal = processes.deal(batches)

    def share() -> tuple[list[tuple[int, Floats]], int]:
        paid: list[tuple[int, Floats]] = []
        forward_tokens = 0
        for rows, length in deal:
            with torch.inference_mode():
                context = int(context_lengths[rows[0]])
                parts = fitting.run(len(rows), partial(_rows, score, rows, length, context))
            values = np.concatenate([part.cpu().numpy() for part, _ in parts])
            for row, row_nats in zip(rows, values, strict=True):
                its_own = torch.from_numpy(row_nats[len(row_nats) - paid_lengths[row] :])
                require_finite(its_own, lambda _, row=row: f"the network's score of window {row}")  # type: ignore[misc]
                paid.append((int(row), its_own.numpy()))
            forward_tokens += sum(count for _, count in parts)
            if advance is not None and processes.is_first:
                advance(len(rows) * length * processes.count)
        return paid, forward_tokens

    own_lengths, first = paid_lengths[part], int(which[0])
    offset = np.cumsum(own_lengths) - own_lengths
    token_nats = np.zeros(int(own_lengths.sum()))
    nats = np.full(len(which), np.nan)
    forward_tokens = 0
    for scored, count in processes.together(share):
        forward_tokens += count
        for row, paid in scored:
            place = offset[row - first]
            token_nats[place : place + len(paid)] = paid
            nats[row - first] = math.fsum(paid)
    peaks = [peak for peak in processes.gather(peak_memory_bytes(device)) if peak is not None]
    return SpanNats(nats, token_nats, forward_tokens, max(peaks, default=None), fitting.remarks)


def _rows(
    score: Callable[[Ints, int, int], tuple[Tensor, int]], rows: Ints, length: int, context: int, part: slice
) -> tuple[Tensor, int]:
    return score(rows[part], length, context)
