"""What of a corpus is scored: its spans, as the settings lay them, what they spell, and how hard they look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import CorpusError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.sampling.bigram import BigramCounts
from bpb_harness.text.spans import Spans, blocks, sliding, windows, within_documents
from bpb_harness.units import CodeLength, counted

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


def lay_spans(
    settings: Settings, num_tokens: int, context_length: int, document_starts: npt.NDArray[np.int64] | None = None
) -> Spans:
    """All spans of a text.

    Args:
        settings: name the layout.
        num_tokens: of the text.
        context_length: most tokens that the network takes at once.
        document_starts: position of each document's first token, where spans end at their borders.

    Raises:
        UsageError: for a stride, a block or a prefix that does not fit the context length.
        CorpusError: if nothing is left to score.
    """
    given = int(METHODS[settings.method].is_causal)
    if settings.block_size is not None:
        layout = partial(
            blocks,
            context_length=context_length,
            block_size=settings.block_size,
            tail=settings.tail,
            unpaid_prefix=settings.unpaid_prefix,
        )
    elif settings.stride is not None or given:
        stride = context_length if settings.stride is None else settings.stride
        layout = partial(
            sliding, context_length=context_length, stride=stride, given=given, tail=settings.tail,
            end_is_known=document_starts is None,
        )  # fmt: skip
    else:
        layout = partial(
            windows, context_length=context_length, tail=settings.tail, unpaid_prefix=settings.unpaid_prefix
        )
    if document_starts is None:
        spans = layout(0, num_tokens)
    else:
        spans = within_documents(document_starts, num_tokens, layout, given=given)
    if not len(spans):
        seen = f"{counted(num_tokens, 'token')}, windows of {context_length}, tail {settings.tail}"
        ways = ["pass more text"]
        ways += ["--tail score"] if settings.tail == "drop" else []
        ways += ["a smaller --unpaid-prefix"] if settings.unpaid_prefix else []
        raise CorpusError("nothing is left to score", seen=seen, hint=", or ".join(ways))
    return spans


def limited(settings: Settings, spans: Spans) -> Spans:
    """The first spans, as many as ``--limit`` says; of windows cut into blocks, all blocks of so many windows."""
    if settings.block_size is None or settings.limit is None:
        return spans.take(slice(settings.limit))
    window_starts = np.unique(spans.context_starts)
    return spans.take(np.flatnonzero(spans.context_starts <= window_starts[: settings.limit][-1]))
