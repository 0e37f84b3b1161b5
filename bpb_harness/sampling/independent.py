"""The independent design: draws that share nothing, so that those of one span show that span's own error."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError
from bpb_harness.sampling.streams import RandomStreams


@final
class IndependentDesign:
    """Where in (0, 1] each draw of each span looks: uniform, and independent of all others.

    The stratified design places a span's draws by one jitter and spreads spans over the mask rates: a sharper total,
    but the spread of a span's own draws says little of its error. Here K >= 2 draws do (MATHS.md, equation 31).

    Args:
        streams: source of the positions.
        num_spans: N.
        num_samples: K, draws a span.

    Attributes:
        positions: v of each draw of each span, (N, K) float64 in (0, 1].
        replicated: no span is drawn again for the error alone, (0,) int64.
        replicate_positions: (0,) float64.

    Raises:
        UsageError: if K is below 1.
    """

    def __init__(self, streams: RandomStreams, num_spans: int, num_samples: int) -> None:
        if num_samples < 1:
            raise UsageError("number of samples K", seen=num_samples, expected="1 or more", hint="pass --samples 2")
        span, sample = np.divmod(np.arange(num_spans * num_samples), num_samples)
        positions = streams.independent(span, sample)
        self.positions: npt.NDArray[np.float64] = positions.reshape(num_spans, num_samples)
        self.replicated: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.replicate_positions: npt.NDArray[np.float64] = np.zeros(0)
