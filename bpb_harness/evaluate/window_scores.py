"""Scores without sampling: exact enumeration, the chain rule, autoregressive models. Nats of whole windows come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """Nats of each window, (N,) float64, and how many tokens went through the network for them."""

    nats: npt.NDArray[np.float64]
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

    def window_nats(rows: npt.NDArray[np.int64], length: int) -> tuple[Tensor, int]:
        x0 = stack_windows(corpus, windows, rows).to(device)
        if isinstance(estimator, ExactBound):
            return estimator.window_nats(denoiser, x0), len(rows) * length
        return estimator.window_nats(denoiser, x0, rows), len(rows) * length * estimator.passes(length)

    return _run(window_nats, windows.lengths, batch_tokens, advance)


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
        # Only the last tokens of each row are this span's to pay for.
        unpaid = torch.from_numpy(length - spans.lengths[rows]).to(device)
        paid = torch.arange(length, device=device) >= unpaid.unsqueeze(-1)
        return torch.where(paid, nats, 0.0).sum(dim=-1).cpu(), len(rows) * length

    return _run(span_nats, spans.input_lengths, batch_tokens, advance)


def _run(
    score: Callable[[npt.NDArray[np.int64], int], tuple[Tensor, int]],
    lengths: npt.NDArray[np.int64],
    batch_tokens: int,
    advance: Advance | None,
) -> WindowNats:
    nats = np.full(len(lengths), np.nan)
    forward_tokens = 0
    for rows, length in batches(lengths, batch_tokens):
        with torch.inference_mode():
            values, count = score(rows, length)
        nats[rows] = values.numpy()
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
    return WindowNats(nats, forward_tokens)
