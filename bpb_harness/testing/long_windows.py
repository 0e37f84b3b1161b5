"""Windows of some hundred tokens with a single one masked: where weights that are cut off are most of the mean.

A window of L tokens has one of them masked at times near 1 / L, where independent times carry weights near L: a weight
clipped at c loses a share of about 1 - c / L of what such masks cost, where on windows of four tokens it loses 2 / c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.testing.evidence import evidence_too_high, evidence_too_low
from bpb_harness.testing.formula import drawn_times, rate_of_single_masks
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.probes import CERTAIN, Probe
from bpb_harness.testing.runs import ProbeResult

Floats = npt.NDArray[np.float64]

LENGTH = 512
_BATCH = 64
CALLS = 1000
# Where the mean of a batch is cut off, as the one row that carries it there: in means of a window that pays, L ln V.
_TOPS = (2.0, 4.0, 8.0)
_RIGHT, _FAR = 3.0, 4.0  # standard errors


@final
@dataclass(frozen=True, eq=False)
class SingleMaskProbe(Probe):
    """Charges ln V for a token that is the only masked one, and nothing elsewhere; enumerates no masks."""

    def clean_logits(self, xt: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002 (it ignores the time)
        masked = xt == self.vocab_size
        alone = masked & (masked.sum(dim=-1, keepdim=True) == 1)
        kind = masked.long() + alone
        # Rows of a table: a mask broadcast over V columns costs several times as much.
        return torch.nn.functional.embedding(kind * xt.shape[1] + torch.arange(xt.shape[1]), self._answers)

    @cached_property
    def _answers(self) -> Tensor:
        """(3 L, V) logits: another text where nothing is asked, the text, and no preference for a mask alone."""
        text = self.x0[0]
        one_hot = torch.nn.functional.one_hot
        wrong, certain = (
            one_hot(answer, self.vocab_size).float() * CERTAIN for answer in ((text + 1) % self.vocab_size, text)
        )
        return torch.cat([wrong, certain, torch.zeros_like(certain)])


@final
class LongWindows:
    """The denoiser, its bound, and what independent times may lose above a cut.

    Attributes:
        probe: the denoiser, with a batch of one text.
        length: of a window.
        exact_nats: its bound.
    """

    def __init__(self, setting: Setting, special_ids: tuple[int, ...], *, mask_column: bool) -> None:
        length = LENGTH if setting.num_steps is None else min(LENGTH, setting.num_steps)
        text = torch.arange(length) % setting.vocab_size
        text[: len(special_ids)] = torch.tensor(special_ids, dtype=text.dtype)
        self.probe = SingleMaskProbe(
            name=f"windows of {length} tokens with a single one masked", x0=text.expand(_BATCH, -1).contiguous(),
            vocab_size=setting.vocab_size, mask_column=mask_column,
        )  # fmt: skip
        schedule, cost = setting.schedule, math.log(setting.vocab_size)
        self.length, self._cost = length, cost
        _, chance, rates, self._weight = drawn_times(schedule, setting.num_steps)
        self._chance = chance * rate_of_single_masks(rates, length)
        lowest = np.array([schedule.min_mask_rate])
        self._offset = (1.0 - schedule.max_mask_rate) * length * cost
        diffusion = float(self._chance @ self._weight) * cost
        self.exact_nats = diffusion + float(rate_of_single_masks(lowest, length)[0]) * cost + self._offset

    def evidence(self, estimates: Floats) -> list[Floats]:
        """Logarithms of e-values for the mean of batches of independent rows, (calls, B) -> (bets, 1) each."""
        batch = estimates.shape[1]
        mean, exact = estimates.mean(axis=1, keepdims=True), np.array([self.exact_nats])
        found = [evidence_too_high(mean, exact)]
        for high in _TOPS:
            one_row = high * self.length * self._cost
            top = exact + (one_row + self._offset - exact) / batch
            lost = 2.0 * self._excess(one_row) + 0.002 * exact
            found.append(evidence_too_low(mean, exact, top, lost))
        return found

    def weights(self, estimates: Floats) -> Floats:
        """What was paid for a single mask, in units of its cost; 0 where another number of tokens was masked."""
        return (estimates - self._offset) / self._cost

    def is_too_high_for_clipped(self, measured: ProbeResult, largest: float) -> bool:
        """Whether a mean says that weights end at ``largest`` rightly: at the bound, and far from what clipping leaves.

        Independent times whose weights are clipped have the bound less what is cut off as their mean.
        """
        clipped = self.exact_nats - self._excess(largest * self._cost)
        above = measured.mean_nats - clipped
        return abs(measured.z) < _RIGHT and above > _FAR * measured.stderr_nats

    def _excess(self, one_row: float) -> float:
        """E[max(X - s, 0)] for one window with independent times, without the prior term."""
        return float(self._chance @ np.maximum(self._weight * self._cost - one_row, 0.0))
