"""``--method exact``: both bounds by enumeration of all masks, for windows of at most 12 tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from bpb_harness.denoiser import Denoiser, masked_nll, num_clean_tokens
from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import all_nodes_of_grid, prior_nats
from bpb_harness.schedule import NoiseSchedule

MAX_EXACT_LENGTH = 12
_QUADRATURE_NODES = 64
_ROWS_PER_CALL = 4096


@final
@dataclass(frozen=True)
class ExactBound:
    """The bound of a window without sampling: a sum over its 2^L masks.

    The integral over the mask rate is Gauss-Legendre quadrature with 64 nodes, over a variable in which every schedule
    is smooth: to rounding where the network ignores the noise level, and with the error of a smooth function where it
    is told t or u.

    Attributes:
        schedule: the noise schedule.
        num_steps: T for the bound of the T-step model; None for the continuous one.
    """

    schedule: NoiseSchedule
    num_steps: int | None = None

    method: ClassVar[str] = "exact"
    relation: ClassVar[str] = "<="

    def __post_init__(self) -> None:
        if self.num_steps is not None and self.num_steps < 1:
            raise UsageError("--steps", seen=self.num_steps, expected="1 or more", hint="pass --steps 128")

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Mask rates and weights whose weighted sum of f is the bound without its prior; (n,) float64 each."""
        if self.num_steps is not None:
            return all_nodes_of_grid(self.schedule.grid(self.num_steps))
        node, weight = np.polynomial.legendre.leggauss(_QUADRATURE_NODES)
        # Over time, because t(u) of a cosine schedule is as steep as a square root at an end; and over r,
        # t = r^2 (3 - 2 r), because u(t) of a polynomial schedule of power below 1 is steep at 0.
        r = torch.from_numpy((node + 1.0) / 2.0)
        time = r**2 * (3.0 - 2.0 * r)
        rates = self.schedule.move_chance(time)
        weights = torch.from_numpy(weight) * 3.0 * r * (1.0 - r) * self.schedule.dmove_chance(time)
        if self.schedule.min_move_chance > 0:  # the reconstruction term sits at u_0 and weighs u_0
            at_low = torch.tensor([self.schedule.min_move_chance], dtype=torch.float64)
            rates, weights = torch.cat([at_low, rates]), torch.cat([at_low, weights])
        return rates, weights

    def passes(self, length: int, *, time_conditioned: bool) -> int:
        """Windows that go through the network for one of ``length`` tokens: its masks, at every node if it is told."""
        return ((1 << length) - 1) * (len(self.nodes()[0]) if time_conditioned else 1)

    def window_nats(self, denoiser: Denoiser, x0: Tensor) -> Tensor:
        """The bound of each window.

        Args:
            denoiser: the network.
            x0: (B, L) int64, L at most 12.

        Returns:
            (B,) float64 nats.

        Raises:
            UsageError: if the window is longer than 12 tokens.
        """
        length = x0.shape[1]
        if length > MAX_EXACT_LENGTH:
            raise UsageError(
                "--method exact", seen=f"windows of {length} tokens", expected=f"at most {MAX_EXACT_LENGTH}",
                hint="pass --context 12 or less, or use --method chain for an exact code length",
            )  # fmt: skip
        prior = prior_nats(self.schedule, length, num_clean_tokens(denoiser))
        return torch.stack([self._enumerate(denoiser, row) for row in x0]) + prior

    def _enumerate(self, denoiser: Denoiser, window: Tensor) -> Tensor:
        """Sum over nodes of weight * sum over M of u^(|M| - 1) (1 - u)^(L - |M|) C(x, M; t(u))."""
        masks = all_masks(len(window)).to(window.device)
        count = masks.sum(dim=-1).double().cpu()
        rates, weights = self.nodes()
        total = torch.zeros((), dtype=torch.float64)
        nats = None
        for rate, weight in zip(rates, weights, strict=True):
            if nats is None or denoiser.time_conditioned:
                nats = self._all_masked_nll(denoiser, window, masks, rate)
            probability_over_rate = rate ** (count - 1.0) * (1.0 - rate) ** (len(window) - count)
            total += weight * (probability_over_rate * nats).sum()
        return total

    def _all_masked_nll(self, denoiser: Denoiser, window: Tensor, masks: Tensor, rate: Tensor) -> Tensor:
        """C(x, M; t) of every mask, (2^L - 1,) float64 on the CPU."""
        parts = []
        for part in torch.split(masks, _ROWS_PER_CALL):
            level = self.schedule.level_at(rate.expand(len(part))).to(window.device)
            parts.append(masked_nll(denoiser, window.expand(len(part), -1), part, level).cpu())
        return torch.cat(parts)


def all_masks(length: int) -> Tensor:
    """Every non-empty mask of a window, (2^L - 1, L) bool."""
    codes = torch.arange(1, 1 << length)
    return (codes.unsqueeze(-1) >> torch.arange(length)) & 1 == 1
