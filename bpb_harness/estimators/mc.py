"""``--method mc``: the continuous-time bound, by Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import Bound


@final
@dataclass(frozen=True)
class ContinuousBound(Bound):
    """NELBO as T goes to infinity: the integral over the mask rate itself.

    Source: MDLM (Sahoo et al. 2024, arXiv 2406.07524), equation 10; in the mask rate the integral no longer depends on
    the schedule, which then only chooses what a time-conditioned network is told. MATHS.md, equation (4).
    """

    method: ClassVar[str] = "mc"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_samples == "all":
            raise UsageError(
                "--samples all with --method mc", expected="a number", hint="the integral has no last node"
            )

    def round_up(self, mask_rate: Tensor) -> Tensor:
        return mask_rate.clamp(min=self.schedule.min_mask_rate)

    def nodes(self) -> tuple[Tensor, Tensor]:
        raise UsageError("the continuous bound has no finite set of nodes", hint="use --method discrete --samples all")
