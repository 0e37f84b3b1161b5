"""What each document costs: tokens, bytes and nats that add up to those of the score.

Costs of tokens tell it for every layout; costs of spans do where each span lies in one document.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.text.document_pieces import DocumentPieces, document_pieces
from bpb_harness.text.spans import Spans, span_bytes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class ScoredDocuments:
    """The documents of which something was scored: the units of comparison, and the rows of the table.

    Attributes:
        pieces: which targets are whose.
        number: of each document in its corpus, from 0, ascending, (D,) int64.
        num_tokens: targets of each, (D,) int64.
        num_bytes: of each under the chosen rule, (D,) int64; None where no bytes are counted.
    """

    pieces: DocumentPieces
    number: Ints
    num_tokens: Ints
    num_bytes: Ints | None

    def __len__(self) -> int:
        return len(self.number)

    @cached_property
    def of_piece(self) -> Ints:
        """The row of each piece's document, (P,) int64."""
        return np.searchsorted(self.number, self.pieces.document)

    @property
    def num_units(self) -> Ints:
        """What rates are over: bytes, or tokens where none are counted, (D,)."""
        return self.num_tokens if self.num_bytes is None else self.num_bytes

    def sums_of_tokens(self, values: Floats) -> Floats:
        """Sums over the targets of each document, (D,).

        Args:
            values: of each target, in the order of the spans.
        """
        return self.sums_of_pieces(self.pieces.of_tokens(values))

    def sums_of_spans(self, values: Floats) -> Floats:
        """Sums over the spans of each document, (D,), where each span lies in one.

        Args:
            values: of each span.

        Raises:
            UsageError: if a span touches two documents.
        """
        if not self.pieces.lie_in_one_document:
            raise UsageError(
                "costs of documents from costs of windows", seen="windows that hold parts of several documents",
                expected="windows that end where documents do", hint="pass --per-document, or leave out --resume",
            )  # fmt: skip
        return self.sums_of_pieces(values[self.pieces.span])

    def sums_of_pieces(self, of_pieces: Floats) -> Floats:
        """Sums over the pieces of each document, (D,)."""
        return np.asarray(np.bincount(self.of_piece, weights=of_pieces, minlength=len(self)), dtype=np.float64)


def scored_documents(job: Job, layout: Layout) -> ScoredDocuments:
    """The documents of an evaluation: of shards, of files of documents, or of answers, in the order of the text.

    Raises:
        CorpusError: if nothing says where documents end.
    """
    starts = job.text.require_borders(_WHAT).starts
    pieces = document_pieces(starts, layout.spans)
    counted = np.bincount(pieces.document, weights=pieces.lengths, minlength=len(starts)).astype(np.int64)
    num_bytes = _bytes_of_documents(job, layout, pieces, len(starts)) if layout.counts_bytes else None
    # A document may have bytes and no tokens: what its tokenizer drops is counted by --bytes raw.
    scored = counted > 0 if num_bytes is None else (counted > 0) | (num_bytes > 0)
    number = np.flatnonzero(scored)
    return ScoredDocuments(pieces, number, counted[number], None if num_bytes is None else num_bytes[number])


_WHAT = "costs of documents"


def _bytes_of_documents(job: Job, layout: Layout, pieces: DocumentPieces, count: int) -> Ints:
    """Bytes of what is scored of each document of the corpus, (count,); their sum is that of the score."""
    text, counter, rule = job.text, job.text.counter, job.settings.byte_rule
    assert rule != "none"
    if text.answers is not None:
        scored = text.answers.num_bytes[rule][: len(job.answers or ())]
        return np.append(scored, np.zeros(count - len(scored), dtype=np.int64))
    exact_or_official = "exact" if rule == "raw" else rule
    spelled = _by_document(pieces, span_bytes(text.corpus, pieces.as_spans(), counter, exact_or_official), count)
    if rule != "raw":
        return spelled
    # The score counts the raw bytes of the text less what the tokens spell that are given.
    raw = text.corpus.raw_bytes_per_document
    assert raw is not None
    every = Spans.without_context(text.borders.starts, np.append(text.borders.starts[1:], text.corpus.num_tokens))
    left = raw - (span_bytes(text.corpus, every, counter, "exact") - spelled)
    if (left >= 0).all():
        return np.asarray(left, dtype=np.int64)
    upto = np.floor(np.cumsum(spelled) * (layout.total_units / max(int(spelled.sum()), 1)) + 0.5).astype(np.int64)
    upto[-1] = layout.total_units
    return np.asarray(np.diff(upto, prepend=0), dtype=np.int64)


def _by_document(pieces: DocumentPieces, values: Ints, count: int) -> Ints:
    return np.bincount(pieces.document, weights=values, minlength=count).astype(np.int64)
