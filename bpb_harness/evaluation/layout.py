"""What of a corpus is scored: its windows, what they spell, and how hard they look before any network has seen them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.bigram import BigramCounts
from bpb_harness.text.corpus import Windows
from bpb_harness.units import CodeLength

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Layout:
    """The windows of one evaluation.

    Attributes:
        windows: those that are scored.
        num_in_corpus: how many the corpus has.
        num_units: what rates are over, of each window: bytes, or tokens where none are counted, (N,) int64.
        counts_bytes: which of the two.
        difficulty: of each window, (N,) int64; all alike where no masks are drawn at random.
        bigrams: counts of the windows; None where no masks are drawn at random.
    """

    windows: Windows
    num_in_corpus: int
    num_units: Ints
    counts_bytes: bool
    difficulty: Ints
    bigrams: BigramCounts | None = None

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> Ints:
        """Tokens of each window, (N,) int64."""
        return self.windows.lengths

    @property
    def is_whole(self) -> bool:
        """Whether no window of the corpus is left out."""
        return len(self) == self.num_in_corpus

    @cached_property
    def total_units(self) -> int:
        """Bytes, or tokens, of all windows."""
        return int(self.num_units.sum())

    @property
    def num_bytes(self) -> Ints | None:
        """Bytes of each window; None where none are counted."""
        return self.num_units if self.counts_bytes else None

    def code_length(self, nats: float) -> CodeLength:
        """The sums of a score of so many nats."""
        return CodeLength(nats, self.windows.num_tokens, self.total_units if self.counts_bytes else 0, len(self))

    def take(self, which: Ints) -> Layout:
        """Some of the windows; the counts stay those of all."""
        windows = self.windows.take(which)
        return replace(self, windows=windows, num_units=self.num_units[which], difficulty=self.difficulty[which])
