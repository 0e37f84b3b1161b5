"""What of a corpus is scored: its spans, what they spell, and how hard they look before any network has seen them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.bigram import BigramCounts
from bpb_harness.text.spans import Spans
from bpb_harness.units import CodeLength

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Layout:
    """The spans of one evaluation.

    Attributes:
        spans: those that are scored.
        num_in_corpus: how many the corpus has.
        num_units: what rates are over, of each span's targets: bytes, or tokens where none are counted, (N,) int64.
        counts_bytes: which of the two.
        difficulty: of each span, (N,) int64; all alike where no masks are drawn at random.
        bigrams: counts of the text; None where no masks are drawn at random.
    """

    spans: Spans
    num_in_corpus: int
    num_units: Ints
    counts_bytes: bool
    difficulty: Ints
    bigrams: BigramCounts | None = None

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def lengths(self) -> Ints:
        """Targets of each span, (N,) int64."""
        return self.spans.lengths

    @property
    def input_lengths(self) -> Ints:
        """Tokens of each span, context and targets, (N,) int64."""
        return self.spans.input_lengths

    @property
    def is_whole(self) -> bool:
        """Whether no span of the corpus is left out."""
        return len(self) == self.num_in_corpus

    @cached_property
    def total_units(self) -> int:
        """Bytes, or tokens, of all spans."""
        return int(self.num_units.sum())

    @property
    def num_bytes(self) -> Ints | None:
        """Bytes of each span; None where none are counted."""
        return self.num_units if self.counts_bytes else None

    def code_length(self, nats: float) -> CodeLength:
        """The sums of a score of so many nats."""
        return CodeLength(nats, self.spans.num_tokens, self.total_units if self.counts_bytes else 0, len(self))

    def take(self, which: Ints) -> Layout:
        """Some of the spans; the counts stay those of all."""
        spans = self.spans.take(which)
        return replace(self, spans=spans, num_units=self.num_units[which], difficulty=self.difficulty[which])
