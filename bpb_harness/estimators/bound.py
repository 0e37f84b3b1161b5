"""What the sampled bounds have in common: one identity, and three named terms.

With f(u; t) = E[C(x, M; t) / |M|] over size-biased masks of rate u, the bound of a window of L tokens is

    NELBO = prior + reconstruction + diffusion                                        MATHS.md, equations (4) to (9)
    prior          = alpha(1) L ln(number of clean tokens)
    reconstruction = u_0 L f(u_0; 0)
    diffusion      = L integral over u in (u_0, u_max] of f(ceil(u)) du

where ceil rounds up to the grid of the T-step model, and is the identity for the continuous one. Reconstruction is the
same integral over (0, u_0] with u rounded up to u_0, so that one uniform v in (0, 1] serves all of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.schedule import NoiseSchedule


@dataclass(frozen=True)
class Bound(ABC):
    """A bound estimated from size-biased masks.

    Attributes:
        schedule: the noise schedule of the generative model.
        num_samples: K, stratified draws of each window; "all" means every node of the bound's grid.
    """

    schedule: NoiseSchedule
    num_samples: int | Literal["all"] = 2

    method: ClassVar[str]
    relation: ClassVar[str] = "~<="

    def __post_init__(self) -> None:
        if self.num_samples != "all" and self.num_samples < 1:
            raise UsageError(
                "number of samples K", seen=self.num_samples, expected="1 or more, or 'all'", hint="pass --samples 2"
            )

    @abstractmethod
    def round_up(self, mask_rate: Tensor) -> Tensor:
        """The mask rate at which the model is evaluated for a point of (0, u_max]; elementwise, float64."""

    @abstractmethod
    def nodes(self) -> tuple[Tensor, Tensor]:
        """Every mask rate of the bound and its weight, which sum to u_max; (n,) float64 each.

        Raises:
            UsageError: if the bound has no finite set of nodes.
        """

    def mask_rate(self, position: Tensor) -> Tensor:
        """Mask rate of a draw at v in (0, 1]; elementwise, float64."""
        return self.round_up(position.double() * self.schedule.max_mask_rate)

    @property
    def draw_weight(self) -> float:
        """What C / |M| of one of K sampled draws is multiplied with, beside L: u_max / K."""
        assert self.num_samples != "all"
        return self.schedule.max_mask_rate / self.num_samples

    def is_reconstruction(self, mask_rate: Tensor) -> Tensor:
        """Which draws belong to the reconstruction term; elementwise, bool."""
        return mask_rate <= self.schedule.min_mask_rate


def prior_nats(schedule: NoiseSchedule, num_tokens: int, num_clean_tokens: int) -> float:
    """The price of the tokens still visible at t = 1, under a uniform leftover prior: alpha(1) L ln V, in nats.

    Without it a schedule with alpha(1) > 0 has an infinite KL term: the bound would be of no model.
    """
    return (1.0 - schedule.max_mask_rate) * num_tokens * math.log(num_clean_tokens)


def all_nodes_of_grid(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Rates u_i and weights u_i - u_{i-1} of a grid u_0 < ... < u_T; u_0 itself weighs u_0 and is left out if 0."""
    weights = torch.diff(grid, prepend=torch.zeros(1, dtype=grid.dtype))
    keep = weights > 0
    return grid[keep], weights[keep]
