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

from bpb_harness.corpus import Corpus, Windows
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import NumericsError
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ExactBound, Spans
from bpb_harness.evaluate.draws import Advance, batches, stack_windows


@final
@dataclass(frozen=True)
class WindowNats:
    """What a method that does not sample says.

    Attributes:
        nats: of each window, (N,) float64.
        token_nats: of each scored token, in the order of the windows; None where a method knows only windows.
        num_forward_tokens: tokens that went through the network.
    """

    nats: npt.NDArray[np.float64]
    token_nats: npt.NDArray[np.float64] | None
    num_forward_tokens: int


def score_masked_windows(
    estimator: ExactBound | ChainRule,
    denoiser: Denoiser,
    corpus: Corpus,
    windows: Windows,
    *,
    device: torch.device,
    batch_tokens: int,
    advance: Advance | None = None,
) -> WindowNats:
    """Enumerate masks, or follow the chain rule, window by window."""

    def row_nats(rows: npt.NDArray[np.int64], length: int) -> tuple[Tensor, int]:
        x0 = stack_windows(corpus, windows, rows).to(device)
        if isinstance(estimator, ExactBound):
            return estimator.window_nats(denoiser, x0).unsqueeze(-1), len(rows) * length
        return estimator.token_nats(denoiser, x0, rows).cpu(), len(rows) * length * estimator.passes(length)

    columns = np.ones_like(windows.lengths) if isinstance(estimator, ExactBound) else windows.lengths
    run = _run(row_nats, windows.lengths, columns, batch_tokens, advance)
    return replace(run, token_nats=None) if isinstance(estimator, ExactBound) else run


def score_causal_spans(
    estimator: AutoregressiveCode,
    model: CausalLM,
    corpus: Corpus,
    spans: Spans,
    *,
    device: torch.device,
    batch_tokens: int,
    advance: Advance | None = None,
) -> WindowNats:
    """Pay for every token of every span."""

    def span_nats(rows: npt.NDArray[np.int64], length: int) -> tuple[Tensor, int]:
        begin = spans.context_starts[rows]
        tokens = torch.from_numpy(np.stack([corpus.read(int(start), int(start) + length + 1) for start in begin]))
        tokens = tokens.to(device)
        nats = estimator.token_nats(model, tokens[:, :-1], tokens[:, 1:])
        return nats.cpu(), len(rows) * length

    return _run(span_nats, spans.input_lengths, spans.lengths, batch_tokens, advance)


def _run(
    score: Callable[[npt.NDArray[np.int64], int], tuple[Tensor, int]],
    input_lengths: npt.NDArray[np.int64],
    paid_lengths: npt.NDArray[np.int64],
    batch_tokens: int,
    advance: Advance | None,
) -> WindowNats:
    """Score rows in batches of one input length; only the last ``paid_lengths`` columns of each row are its to pay."""
    offset = np.cumsum(paid_lengths) - paid_lengths
    token_nats = np.zeros(int(paid_lengths.sum()))
    nats = np.full(len(input_lengths), np.nan)
    forward_tokens = 0
    for rows, length in batches(input_lengths, batch_tokens):
        with torch.inference_mode():
            values, count = score(rows, length)
        for row, row_nats in zip(rows, values.numpy(), strict=True):
            paid = row_nats[len(row_nats) - paid_lengths[row] :]
            token_nats[offset[row] : offset[row] + len(paid)] = paid
            nats[row] = math.fsum(paid) if np.isfinite(paid).all() else np.nan
        forward_tokens += count
        bad = rows[~np.isfinite(nats[rows])]
        if len(bad):
            raise NumericsError(
                f"the network's score of window {bad[0]}",
                seen=f"{nats[bad[0]]} nats",
                expected="a finite number",
                hint="its logits hold NaN or infinity, or give a token of the text no mass at all",
            )
        if advance is not None:
            advance(len(rows) * length)
    return WindowNats(nats, token_nats, forward_tokens)
