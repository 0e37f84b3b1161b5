"""What a proof shows: whether the text came back, and whether it cost no more than was claimed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.proof.claim import Claim
from bpb_harness.units import nats_to_bits

Floats = npt.NDArray[np.float64]

PROVED, REFUTED, UNPROVED = 0, 1, 3
NUM_ERRORS = 4.0
# A call for one position and a call for many add in another order; measured differences are a tenth of these.
ROUNDING_NATS_A_TOKEN = {"float32": 1e-4, "bfloat16": 2e-3}

# In an order by the network's predictions, places that rounding tells apart come in another order in batches of another
# size: up to 6 % more or less (docs/orders.md).
SHARE_OF_ORDERS = 0.1


@final
@dataclass(frozen=True)
class Costs:
    """What some spans cost.

    Attributes:
        claim: estimated again.
        scored_nats: of each in the score itself, (N,); None where only its sum is known.
        coded_nats: of each by the network while the file was written, (N,).
        further_nats: of each under other draws of the shared randomness, (D, N); (0, N) where there is none.
        num_tokens: targets in all.
        dtype: the arithmetic.
        order_share: how much more than in the score they may cost, as a share, because batches were others.
    """

    claim: Claim
    scored_nats: Floats | None
    coded_nats: Floats
    further_nats: Floats
    num_tokens: int
    dtype: str
    order_share: float = 0.0

    @property
    def coded_bits(self) -> float:
        """By the network, in all."""
        return nats_to_bits(math.fsum(self.coded_nats))

    @property
    def claimed_bits(self) -> float:
        """Estimated again, in all."""
        return nats_to_bits(math.fsum(self.claim.nats))

    @property
    def claim_stderr_bits(self) -> float:
        """Of that estimate."""
        return nats_to_bits(math.sqrt(math.fsum(self.claim.variance)))

    @property
    def draw_stderr_bits(self) -> float:
        """Standard deviation of what such a file costs, over the shared randomness."""
        return nats_to_bits(math.sqrt(math.fsum(self._draw_variance)))

    @property
    def _draw_variance(self) -> Floats:
        if not len(self.further_nats):
            return np.zeros(len(self.coded_nats))
        return np.asarray(np.vstack([self.coded_nats[None], self.further_nats]).var(axis=0, ddof=1))

    def exceeds_claim(self) -> bool:
        """Whether the file costs more than the claim, by more than four errors of both."""
        return self._exceeds(self.claim.nats, self.claim.variance)

    def exceeds_score(self) -> bool:
        """Whether it costs more than these spans did in the score, whose draws are fewer: one of each at least."""
        if self.scored_nats is None:
            return False
        single = self.claim.variance * max(self.claim.num_draws, 1)
        return self._exceeds(self.scored_nats * (1.0 + self.order_share), single)

    def _exceeds(self, nats: Floats, variance: Floats) -> bool:
        excess = math.fsum(self.coded_nats) - math.fsum(nats)
        rounding = ROUNDING_NATS_A_TOKEN[self.dtype] * self.num_tokens
        draws, further = self._draw_variance, np.full(len(nats), float(len(self.further_nats)))
        values = np.concatenate([draws, variance])
        total = math.fsum(values)
        if total == 0.0:
            return not excess <= rounding
        # Variances of few draws are themselves uncertain: degrees of freedom after Welch and Satterthwaite.
        known = np.zeros(len(nats)) if self.claim.degrees_of_freedom is None else self.claim.degrees_of_freedom
        degrees = np.concatenate([further, known])
        squares = math.fsum(values[degrees > 0.0] ** 2 / degrees[degrees > 0.0])
        return not excess <= rounding + four_errors(total**2 / squares) * math.sqrt(total)


def four_errors(degrees_of_freedom: float) -> float:
    """Student's quantile that is exceeded as rarely as four errors of the normal law."""
    from scipy import stats  # deferred: takes a second to import

    return float(stats.t.isf(stats.norm.sf(NUM_ERRORS), degrees_of_freedom))
