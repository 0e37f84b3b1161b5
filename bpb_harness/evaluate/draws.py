"""Running the draws of a bound: masks, batches, the network; a table of sums comes back.

Nothing here knows which bound it runs, and no sum crosses draws: the table is the same for every batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.corpus import Corpus, Windows
from bpb_harness.denoiser import Denoiser, masked_nll, masked_token_nll
from bpb_harness.errors import NumericsError
from bpb_harness.estimators import Bound
from bpb_harness.masking import RandomStreams, StratifiedDesign, size_biased_masks, stack_mask_noise
from bpb_harness.schedule import NoiseSchedule

Advance = Callable[[int], None]
_CHECK_EVERY_BATCHES = 64


@final
@dataclass(frozen=True)
class DrawPlan:
    """Which masks to draw, one row a draw.

    Attributes:
        window: index of the window among those scored, (R,) int64.
        sample: which draw of its window, (R,) int64; with the window it addresses the mask's noise.
        position: v in (0, 1], (R,) float64.
        move_chance: u, (R,) float64.
        weight: what L C / |M| is multiplied with in the window's bound, (R,) float64.
    """

    window: npt.NDArray[np.int64]
    sample: npt.NDArray[np.int64]
    position: npt.NDArray[np.float64]
    move_chance: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.window)


@final
@dataclass(frozen=True)
class DrawTable:
    """A plan with what the network said.

    Attributes:
        plan: the draws.
        num_masked: |M|, (R,) int64.
        nats: C(x, M; t), (R,) float64.
        token_nats: what each scored token adds to its window's bound, beside the prior, in the order of the windows;
            None unless asked for.
    """

    plan: DrawPlan
    num_masked: npt.NDArray[np.int64]
    nats: npt.NDArray[np.float64]
    token_nats: npt.NDArray[np.float64] | None = None

    @property
    def nats_per_masked(self) -> npt.NDArray[np.float64]:
        """C / |M|; its mean at u is f(u)."""
        return self.nats / self.num_masked


def plan_draws(bound: Bound, num_windows: int, design: StratifiedDesign | None) -> DrawPlan:
    """Lay out the draws of a bound: K positions of the design in each window, or every node of its grid."""
    if bound.num_samples == "all":
        rates, weights = bound.nodes()
        upper = torch.cumsum(weights, 0)
        position = (upper - weights / 2.0) / bound.schedule.max_move_chance
        count = len(rates)
        return DrawPlan(
            np.repeat(np.arange(num_windows), count),
            np.tile(np.arange(count), num_windows),
            np.tile(position.numpy(), num_windows),
            np.tile(rates.numpy(), num_windows),
            np.tile(weights.numpy(), num_windows),
        )
    assert design is not None
    count = bound.num_samples
    position = torch.from_numpy(np.concatenate([design.positions(window) for window in range(num_windows)]))
    return DrawPlan(
        np.repeat(np.arange(num_windows), count),
        np.tile(np.arange(count), num_windows),
        position.numpy(),
        bound.move_chance(position).numpy(),
        np.full(num_windows * count, bound.draw_weight),
    )


def run_draws(
    denoiser: Denoiser,
    corpus: Corpus,
    windows: Windows,
    plan: DrawPlan,
    *,
    schedule: NoiseSchedule,
    streams: RandomStreams,
    device: torch.device,
    batch_tokens: int,
    first_window: int = 0,
    keep_tokens: bool = False,
    advance: Advance | None = None,
) -> DrawTable:
    """Score every draw of a plan.

    Args:
        denoiser: the network, on ``device``.
        corpus: the token stream.
        windows: what of it is scored; the plan's windows index these.
        plan: which masks to draw.
        schedule: turns mask rates into noise levels.
        streams: the masks' noise.
        device: where the network runs.
        batch_tokens: forward tokens a call, at least one window.
        first_window: index in the corpus of ``windows[0]``; it addresses the noise.
        keep_tokens: also keep what each token adds.
        advance: called with the number of tokens that went through the network.

    Raises:
        NumericsError: where the network gives NaN, or infinitely many bits.
    """
    nats = np.full(len(plan), np.nan)
    num_masked = np.zeros(len(plan), dtype=np.int64)
    pending: list[tuple[npt.NDArray[np.int64], Tensor]] = []
    token_nats = np.zeros(int(windows.lengths.sum())) if keep_tokens else None
    token_offset = np.cumsum(windows.lengths) - windows.lengths
    for rows, length in batches(windows.lengths[plan.window], batch_tokens):
        x0 = stack_windows(corpus, windows, plan.window[rows])
        noise, target = stack_mask_noise(streams, plan.window[rows] + first_window, plan.sample[rows], length)
        level = schedule.level_at(torch.from_numpy(plan.move_chance[rows]))
        masked = size_biased_masks(noise, target, level)
        num_masked[rows] = masked.sum(dim=-1).numpy()
        with torch.inference_mode():
            batch = (denoiser, x0.to(device), masked.to(device), level.to(device))
            if token_nats is None:
                row_nats = masked_nll(*batch)
            else:
                nll = masked_token_nll(*batch)
                row_nats = nll.sum(dim=-1)
                scale = plan.weight[rows] * length / num_masked[rows]
                where = token_offset[plan.window[rows], None] + np.arange(length)
                np.add.at(token_nats, where, nll.cpu().numpy() * scale[:, None])
        pending.append((rows, row_nats))
        if len(pending) >= _CHECK_EVERY_BATCHES or device.type == "cpu":
            _collect(pending, plan, nats)
        if advance is not None:
            advance(len(rows) * length)
    _collect(pending, plan, nats)
    return DrawTable(plan, num_masked, nats, token_nats)


def batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
    """Split rows into batches of one length each, in order; yields (rows, length)."""
    for length in sorted({int(length) for length in lengths}, reverse=True):
        rows = np.flatnonzero(lengths == length)
        size = max(batch_tokens // max(length, 1), 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size], length


def stack_windows(corpus: Corpus, windows: Windows, which: npt.NDArray[np.int64]) -> Tensor:
    """Tokens of windows of one length, (B, L) int64."""
    starts, lengths = windows.starts[which], windows.lengths[which]
    return torch.from_numpy(
        np.stack([corpus.read(int(start), int(start + length)) for start, length in zip(starts, lengths, strict=True)])
    )


def _collect(
    pending: list[tuple[npt.NDArray[np.int64], Tensor]], plan: DrawPlan, nats: npt.NDArray[np.float64]
) -> None:
    """Move finished rows to the host, in one transfer, and refuse what is no number."""
    if not pending:
        return
    rows = np.concatenate([rows for rows, _ in pending])
    values = torch.cat([row_nats for _, row_nats in pending]).cpu().numpy()
    pending.clear()
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = rows[bad[0]]
        raise NumericsError(
            f"the network's score of window {plan.window[row]} (mask rate {plan.move_chance[row]:.4f})",
            seen=f"{values[bad[0]]} nats",
            expected="a finite number",
            hint="its logits hold NaN or infinity, or give a token of the text no mass at all",
        )
    nats[rows] = values
