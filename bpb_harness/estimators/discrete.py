"""``--method discrete``: the bound of the T-step model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import Bound, all_nodes_of_grid


@final
@dataclass(frozen=True)
class DiscreteBound(Bound):
    """NELBO_T: the diffusion term is the right-end Riemann sum over the grid t_i = i / T.

    Step i of the model goes from t_i to t_{i-1} and sees masks of the noisier end u_i. With the cleaner end the sum is
    no bound at all. Source: D3PM (Austin et al. 2021, arXiv 2107.03006), equation 1, for the absorbing state;
    MATHS.md, equation (5).

    Attributes:
        num_steps: T.
    """

    method: ClassVar[str] = "discrete"
    num_steps: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 1:
            raise UsageError("--steps", seen=self.num_steps, expected="1 or more", hint="pass --steps 128")

    @cached_property
    def grid(self) -> Tensor:
        """u_0 < ... < u_T, (T + 1,) float64."""
        return self.schedule.grid(self.num_steps)

    def round_up(self, mask_rate: Tensor) -> Tensor:
        step = torch.searchsorted(self.grid, mask_rate).clamp(max=self.num_steps)
        # A rate of 0 masks nothing: only a schedule with u_0 > 0 has anything to reconstruct at t = 0.
        first = 0 if self.schedule.min_mask_rate > 0 else 1
        return self.grid[step.clamp(min=first)]

    def nodes(self) -> tuple[Tensor, Tensor]:
        return all_nodes_of_grid(self.grid)
