"""What an estimator asks its denoiser for: its contract, read off the calls.

A wrapper around a probe's denoiser. It answers every call, so that a wrong estimator runs to its end and is told
everything at once, and keeps what later explains a wrong mean: which positions were ever masked, which masks each row
saw, how many calls an estimate took.
"""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.testing.probes import Probe, codes_of_masks


@final
class WatchedDenoiser:
    """The ``denoise`` that the estimator under test is handed.

    Attributes:
        problem: the first breach of the contract, in words, or None.
        ever_masked: (L,) bool, over all rows and calls.
        num_rows: rows of all calls together.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.problem: str | None = None
        self.ever_masked = torch.zeros(probe.x0.shape[1], dtype=torch.bool)
        self.num_rows = 0
        self._was_all_masked = False
        self._first_of_estimate = True
        self._masks: list[Tensor] = []
        self._has_codes = probe.x0.shape[1] < 63

    @cached_property
    def _texts(self) -> Tensor:
        """The different windows of the batch, which few estimators need."""
        texts: Tensor = torch.unique(self._probe.x0, dim=0)
        return texts

    def begin_estimate(self) -> None:
        """Say that the next call belongs to a new call of the estimator."""
        self._first_of_estimate = True

    def __call__(self, xt: Tensor, t: Tensor | float | None = None) -> Tensor:
        """Logits of a partly masked batch at times t, (B, L) -> (B, L, V)."""
        xt = self._tokens(xt)
        rows, x0 = xt.shape[0], self._probe.x0
        self.num_rows += rows
        masked = xt == self._probe.vocab_size
        # Nearly every call is this one: what is not masked is the text of its row, and then nothing else is wrong.
        if rows != x0.shape[0] or not torch.equal(torch.where(masked, x0, xt), x0):
            xt, masked = self._checked(xt)
        if not self._was_all_masked:
            self.ever_masked |= masked.any(dim=0)
            self._was_all_masked = bool(self.ever_masked.all())
        if self._first_of_estimate and self._has_codes and rows == x0.shape[0]:
            self._masks.append(masked)
        self._first_of_estimate = False
        return self._probe.logits(xt, self._times(t, rows))

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """Mask of every row in the first call of every estimate, as bits of a number, (calls, B).

        Empty if unknown, or where windows are too long for it.
        """
        if not self._masks:
            return np.zeros((0, len(self._probe.x0)), dtype=np.int64)
        return codes_of_masks(torch.stack(self._masks)).numpy()

    def _complain(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _tokens(self, xt: Tensor) -> Tensor:
        length = self._probe.x0.shape[1]
        if not isinstance(xt, Tensor) or xt.dim() != 2 or xt.shape[1] != length or xt.is_floating_point():
            shape = tuple(xt.shape) if isinstance(xt, Tensor) else type(xt).__name__
            raise TypeError(f"denoise(xt, t): xt must be an integer tensor of shape (B, {length}), got {shape}")
        return xt.long()

    def _checked(self, xt: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens, those that are none replaced by one, and which are masked; complaints of what is wrong."""
        x0, mask = self._probe.x0, self._probe.vocab_size
        low, high = torch.aminmax(xt)
        if int(low) < 0 or int(high) > mask:
            seen = int(xt[(xt < 0) | (xt > mask)][0])
            self._complain(f"denoise was given token {seen}; clean tokens are 0 .. {mask - 1} and the mask is {mask}")
            xt = xt.clamp(0, mask)
        masked = xt == mask
        if len(xt) == len(x0):
            agrees = masked | (xt == x0)
        else:  # several draws of each window, or a part of the batch: in whichever order
            agrees = (masked.unsqueeze(1) | (xt.unsqueeze(1) == self._texts)).all(dim=-1).any(dim=-1)
        if not bool(agrees.all()):
            self._complain(
                f"positions were replaced by a clean token instead of the mask id {mask}: "
                "the mask token is a real data token"
            )
        return xt, masked

    def _times(self, t: Tensor | float | None, rows: int) -> Tensor:
        if not self._probe.time_conditioned:
            return torch.zeros(rows, dtype=torch.float64)
        if t is None:
            self._complain("denoise was not told the time t, but the denoiser is conditioned on it")
            return torch.zeros(rows, dtype=torch.float64)
        times = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
        if len(times) not in (1, rows):
            self._complain(f"denoise was given {len(times)} times for {rows} rows")
            return torch.zeros(rows, dtype=torch.float64)
        if not bool(((times >= 0) & (times <= 1)).all()):
            self._complain(
                f"denoise was told t = {float(times[(times < 0) | (times > 1) | times.isnan()][0]):.6g}, "
                "outside [0, 1]: it takes the time of the schedule, not sigma"
            )
        return times.expand(rows)
