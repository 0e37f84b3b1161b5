"""What decoded windows cost, beside what the score says of the whole.

Windows that a hash chooses are a sample of all windows, so their rate estimates the whole's, with the error of a ratio
over sampled units. That error holds the spread of windows and that of the shared randomness; few windows have a wide
one, and one window has none that is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.proof.score_line import HALF_UNIT, ScoreLine
from bpb_harness.proof.verdict import four_errors

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SHARE_OF_CODER, _BITS_OF_CODER = 1e-3, 64.0  # what the coder adds at most, of a stream


@final
@dataclass(frozen=True)
class Cashed:
    """Of the windows of one file.

    Attributes:
        line: the score.
        num_bits: of the file, of targets.
        span_bits: of each window by the network, while they were decoded, (N,).
        span_units: bytes of each, or tokens, as the score counts, (N,).
        slack: how many more bytes there may be in all: what a space before a window's first token counts.
    """

    line: ScoreLine
    num_bits: int
    span_bits: Floats
    span_units: Ints
    slack: int = 0

    @property
    def num_units(self) -> int:
        """Bytes, or tokens."""
        return int(self.span_units.sum())

    @property
    def rate(self) -> float:
        """Bits of the file per unit."""
        return self.num_bits / max(self.num_units, 1)

    @property
    def stderr(self) -> float:
        """Of the rate, as an estimate of the whole's; infinite where it is not known."""
        count = len(self.span_bits)
        if count < 2 or not self.num_units:
            return math.inf
        network = math.fsum(self.span_bits) / self.num_units
        residuals = self.span_bits - network * self.span_units
        return math.sqrt(count / (count - 1) * math.fsum(residuals**2)) / self.num_units

    @property
    def tolerance(self) -> float:
        """How far four errors of both reach, and rounding; Student's quantile, for few windows."""
        windows, sampling = self.stderr, self.line.stderr
        if not math.isfinite(windows + sampling):
            return math.inf
        total = math.hypot(windows, sampling)
        if total == 0.0:
            return HALF_UNIT
        degrees = (len(self.span_bits) - 1) * (total / windows) ** 4 if windows else math.inf
        return four_errors(min(degrees, 1e9)) * total + HALF_UNIT

    def exceeds_score(self) -> bool:
        """Whether the windows cost more than the score says, by more than that."""
        coder = _SHARE_OF_CODER * self.num_bits + _BITS_OF_CODER
        bits = max(math.fsum(self.span_bits), self.num_bits - coder)
        return bits / max(self.num_units + self.slack, 1) - self.line.rate > self.tolerance

    def falls_below(self) -> bool:
        """Whether they cost less than the score says, by more than that: they are not like the rest of its text."""
        return self.line.rate - self.rate > self.tolerance

    def __str__(self) -> str:
        unit, size = self.line.unit, ""
        if self.line.num_bytes is not None:
            size = f", {self.num_units:,} bytes"
        error = self.stderr
        spread = f"se {error:.4f} over the choice of windows" if math.isfinite(error) else "one window tells no error"
        return (
            f"cashed: {self.num_bits:,} bits, {self.rate:.4f} bits per {unit} ({spread}; "
            f"{len(self.span_bits):,} windows{size}); the score says {self.line.relation} {self.line.rate:.4f}"
        )
