"""Which scored token belongs to which document: the pieces into which borders of documents cut the spans.

A token belongs to the document in whose stretch of the corpus it stands. So the token before a document is the first of
that document, and an EOS behind one is its last; neither spells a byte. It is the same for every method and layout:
where an autoregressive score pays for the next document's first token at the end of this one, its bits are the next
document's, whose token it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self, final

import numpy as np
import numpy.typing as npt

from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class DocumentPieces:
    """The longest stretches of targets of one span and one document, in the order of the spans; (P,) int64 each.

    Attributes:
        span: index of the span.
        document: number in the corpus, from 0.
        starts: position of the first target.
        ends: position behind the last one.
    """

    span: Ints
    document: Ints
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.span)

    @property
    def lengths(self) -> Ints:
        """Targets of each."""
        return self.ends - self.starts

    @cached_property
    def lie_in_one_document(self) -> bool:
        """Whether no span touches two documents, so that sums over spans tell those of documents."""
        return bool((np.diff(self.span) > 0).all())

    def as_spans(self) -> Spans:
        """The pieces as spans without a context."""
        return Spans.without_context(self.starts, self.ends)

    def of_tokens(self, values: Floats, stretches: Stretches | None = None) -> Floats:
        """Sums over the tokens of each piece.

        Args:
            values: of all targets, in the order of the spans, or of stretches of them.
            stretches: which these are, each within one piece; None: each target is one.
        """
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        if stretches is not None:
            ends, starts = (np.searchsorted(stretches.ends, places, side="right") for places in (ends, starts))
        assert len(values) == (ends[-1] if len(ends) else 0)
        return np.asarray(np.add.reduceat(values, starts) if len(ends) else np.zeros(0), dtype=np.float64)


@final
@dataclass(frozen=True)
class Stretches:
    """All targets, in the order of the spans, in the longest stretches that lie in one piece of each of several cuts.

    Attributes:
        ends: how many targets there are up to the last one of each, (S,) int64, ascending.
    """

    ends: Ints

    @classmethod
    def of(cls, *cuts: DocumentPieces) -> Self:
        """Those of some cuts of the same spans."""
        return cls(np.unique(np.concatenate([np.cumsum(pieces.lengths) for pieces in cuts])))

    @property
    def lengths(self) -> Ints:
        """Targets of each."""
        return np.diff(self.ends, prepend=0)

    def of_spans(self, lengths: Ints) -> Ints:
        """The first stretch of each span, which has so many targets, and how many there are in all, (N + 1,)."""
        return np.searchsorted(self.ends, np.append(0, np.cumsum(lengths)), side="right")


def document_pieces(document_starts: Ints, spans: Spans) -> DocumentPieces:
    """Cut spans where documents begin.

    Args:
        document_starts: position of each document's first token, ascending, the first of them 0; documents without a
            token start where the next one does.
        spans: what is scored.
    """
    first = np.searchsorted(document_starts, spans.starts, side="right") - 1
    last = np.searchsorted(document_starts, spans.ends - 1, side="right") - 1
    counts = last - first + 1
    span = np.repeat(np.arange(len(spans)), counts)
    document = np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts) + first[span]
    bounds = np.append(document_starts, np.iinfo(np.int64).max)
    starts = np.maximum(spans.starts[span], bounds[document])
    ends = np.minimum(spans.ends[span], bounds[document + 1])
    kept = starts < ends  # of documents without a token nothing is left
    return DocumentPieces(span[kept], document[kept], starts[kept], ends[kept])
