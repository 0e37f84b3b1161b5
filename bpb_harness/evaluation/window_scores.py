"""Scores without sampling: exact enumeration, the chain rule, autoregressive models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser, require_finite
from bpb_harness.distributed import Processes
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ExactBound, Spans
from bpb_harness.evaluation.batches import consecutive, stack_windows
from bpb_harness.evaluation.draws import Advance
from bpb_harness.evaluation.memory import FittingBatches, peak_memory_bytes
from bpb_harness.result import Remark
from bpb_harness.text.corpus import Corpus, Windows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class WindowNats:
    """What a method that does not sample says.

    Attributes:
        nats: of each window, (N,) float64.
        variance: of each window's estimate, (N,) float64 nats squared; None where nothing was drawn.
        squared_variances: sums of the squares behind it, (N,); see :class:`bpb_harness.estimators.EnumeratedBound`.
        token_nats: of each scored token, in the order of the windows; None where a method knows only windows.
        num_forward_tokens: tokens that went through the network.
        peak_memory_bytes: the most memory held on one GPU; None on a CPU.
        remarks: what a reader of the score should know.
        steps: of the chain rule: in which step each token was revealed, in the order of the windows.
    """

    nats: npt.NDArray[np.float64]
    token_nats: npt.NDArray[np.float64] | None
    num_forward_tokens: int
    peak_memory_bytes: int | None
    remarks: list[Remark]
    steps: npt.NDArray[np.int64] | None = None
    variance: npt.NDArray[np.float64] | None = None
    squared_variances: npt.NDArray[np.float64] | None = None


def score_masked_windows(
    estimator: ExactBound | ChainRule,
    denoiser: Denoiser,
    corpus: Corpus,
    windows: Windows,
    *,
    device: torch.device,
    batch_tokens: int,
    processes: Processes,
    advance: Advance | None = None,
) -> WindowNats:
    """Enumerate masks, or follow the chain rule, window by window."""
    steps: dict[int, Ints] = {}

    def row_nats(rows: npt.NDArray[np.int64], length: int) -> tuple[Tensor, int]:
        x0 = stack_windows(corpus, windows, rows).to(device)
        if isinstance(estimator, ExactBound):
            passes = estimator.passes(length, time_conditioned=denoiser.time_conditioned)
            bound = estimator.window_bounds(denoiser, x0, rows)
            columns = np.stack([bound.nats, bound.variance, bound.squared_variances], axis=1)
            return torch.from_numpy(columns), len(rows) * length * passes
        nats, revealed = estimator.reveal(denoiser, x0, rows)
        steps.update(zip(rows.tolist(), revealed.cpu().numpy(), strict=True))
        return nats.cpu(), len(rows) * length * estimator.passes(length)

    if isinstance(estimator, ExactBound):
        three = np.full_like(windows.lengths, 3)
        run = _run(row_nats, windows.lengths, three, batch_tokens, device, processes, advance)
        assert run.token_nats is not None
        nats, variance, squares = run.token_nats.reshape(-1, 3).T
        if not estimator.draws_levels(time_conditioned=denoiser.time_conditioned):
            return replace(run, nats=nats, token_nats=None)
        return replace(run, nats=nats, token_nats=None, variance=variance, squared_variances=squares)
    run = _run(row_nats, windows.lengths, windows.lengths, batch_tokens, device, processes, advance)
    for others in processes.gather(steps):
        steps |= others
    return replace(run, steps=np.concatenate([steps[row] for row in range(len(windows))]))


def score_causal_spans(
    estimator: AutoregressiveCode,
    model: CausalLM,
    corpus: Corpus,
    spans: Spans,
    *,
    device: torch.device,
    batch_tokens: int,
    processes: Processes,
    advance: Advance | None = None,
) -> WindowNats:
    """Pay for every token of every span."""

    def span_nats(rows: npt.NDArray[np.int64], length: int) -> tuple[Tensor, int]:
        begin = spans.context_starts[rows]
        tokens = torch.from_numpy(np.stack([corpus.read(int(start), int(start) + length + 1) for start in begin]))
        tokens = tokens.to(device)
        nats = estimator.token_nats(model, tokens[:, :-1], tokens[:, 1:])
        return nats.cpu(), len(rows) * length

    return _run(span_nats, spans.input_lengths, spans.lengths, batch_tokens, device, processes, advance)


def _run(
    score: Callable[[Ints, int], tuple[Tensor, int]],
    input_lengths: Ints,
    paid_lengths: Ints,
    batch_tokens: int,
    device: torch.device,
    processes: Processes,
    advance: Advance | None,
) -> WindowNats:
    """Score rows in batches of one input length; only the last ``paid_lengths`` columns of each row are its to pay."""
    batches, fitting = list(consecutive(input_lengths, batch_tokens)), FittingBatches(device)

    def share() -> tuple[list[tuple[int, Floats]], int]:
        paid: list[tuple[int, Floats]] = []
        forward_tokens = 0
        for rows, length in processes.share(batches):
            with torch.inference_mode():
                parts = fitting.run(len(rows), lambda part, rows=rows, length=length: score(rows[part], length))  # type: ignore[misc]
            values = np.concatenate([part.cpu().numpy() for part, _ in parts])
            for row, row_nats in zip(rows, values, strict=True):
                its_own = torch.from_numpy(row_nats[len(row_nats) - paid_lengths[row] :])
                require_finite(its_own, lambda _, row=row: f"the network's score of window {row}")  # type: ignore[misc]
                paid.append((int(row), its_own.numpy()))
            forward_tokens += sum(count for _, count in parts)
            if advance is not None and processes.is_first:
                advance(len(rows) * length * processes.count)
        return paid, forward_tokens

    offset = np.cumsum(paid_lengths) - paid_lengths
    token_nats = np.zeros(int(paid_lengths.sum()))
    nats = np.full(len(input_lengths), np.nan)
    forward_tokens = 0
    for scored, count in processes.together(share):
        forward_tokens += count
        for row, paid in scored:
            token_nats[offset[row] : offset[row] + len(paid)] = paid
            nats[row] = math.fsum(paid)
    peaks = [peak for peak in processes.gather(peak_memory_bytes(device)) if peak is not None]
    return WindowNats(nats, token_nats, forward_tokens, max(peaks, default=None), fitting.remarks)
