"""Which spans are proved: chosen when the score is known, by a hash of it, so that nobody chooses them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.streams import RandomStreams


@final
@dataclass(frozen=True)
class Choice:
    """What a score's hash settles.

    Attributes:
        model_digest: of the checkpoint.
        data_digest: of the text's tokens.
        score: the line that was printed, signature and number.
    """

    model_digest: str
    data_digest: str
    score: str

    @property
    def key(self) -> int:
        """64 bits of the hash, 0 .. 2^64 - 1."""
        text = "\n".join((self.model_digest, self.data_digest, self.score))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    @property
    def streams(self) -> RandomStreams:
        """Randomness that encoder and decoder share, and of the claim that is estimated again."""
        return RandomStreams(self.key)

    def spans(self, num_spans: int, count: int) -> npt.NDArray[np.int64]:
        """Indices of the chosen spans, ascending, (count,)."""
        return np.sort(self.streams.order(0, 0, num_spans)[:count])
