"""Which scored tokens belong to which document and to which block of the text: known before any of them is scored.

A block is `BLOCK_UNITS` bytes that tokens spell by the exact rule, or as many tokens where no bytes are counted. A
token belongs to the block in which its first byte lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter, Rule
from bpb_harness.costs import BLOCK_UNITS
from bpb_harness.evaluation.document_costs import ScoredDocuments, scored_documents
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.sampling.bigram import in_threads
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.document_pieces import DocumentPieces, Stretches, document_pieces
from bpb_harness.text.spans import runs_of, span_bytes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK_TOKENS = 1 << 17  # whose work stays in a cache


@final
@dataclass(frozen=True)
class CostPieces:
    """The units that a comparison knows, as pieces of spans.

    Attributes:
        documents: None where nothing says where they end.
        blocks: pieces of spans and blocks; the number of a block stands in the place of a document's.
        units: bytes, or tokens, of each piece of a block; those of a span add up to its own, (P,) float64.
        num_blocks: from the beginning of the text to the last token that is scored.
    """

    documents: ScoredDocuments | None
    blocks: DocumentPieces
    units: Floats
    num_blocks: int

    @cached_property
    def stretches(self) -> Stretches:
        """What lies in one document and one block: no more needs to be known of tokens."""
        return Stretches.of(self.blocks, *([] if self.documents is None else [self.documents.pieces]))

    def sums_of_blocks(self, values: Floats) -> Floats:
        """Sums over the pieces of each block, (num_blocks,); values are those of pieces."""
        return np.bincount(self.blocks.document, weights=values, minlength=self.num_blocks).astype(np.float64)


def cost_pieces(job: Job, layout: Layout) -> CostPieces:
    """Cut the spans of a job where documents and blocks begin."""
    spans, corpus = layout.spans, job.text.corpus
    documents = scored_documents(job, layout) if job.text.borders.are_known else None
    end = int(spans.ends.max())
    if not layout.counts_bytes:
        starts = np.arange(0, end, BLOCK_UNITS)
        blocks = document_pieces(starts, spans)
        return CostPieces(documents, blocks, blocks.lengths.astype(np.float64), len(starts))
    counter = job.text.counter
    starts = _block_starts(corpus, counter, end)
    blocks, rule = document_pieces(starts, spans), rule_of_tokens(job)
    in_order = blocks.as_spans()
    spelled = in_threads(lambda run: span_bytes(corpus, in_order.take(run), counter, rule), runs_of(in_order))
    units = _fitted(np.concatenate(spelled).astype(np.float64), blocks, layout.num_units)
    return CostPieces(documents, blocks, units, len(starts))


def rule_of_tokens(job: Job) -> Rule:
    """By which the bytes of tokens are dealt out; those of answers and raw ones belong to more than tokens."""
    return "official" if job.settings.byte_rule == "official" and job.answers is None else "exact"


def _block_starts(corpus: Corpus, counter: ByteCounter, end: int) -> Ints:
    """The first token of each block up to that of token ``end - 1``; of one without a token, that of the next."""
    starts, before, count = [], 0, 0
    for begin in range(0, end, _CHUNK_TOKENS):
        spelled = counter.span(corpus, begin, min(begin + _CHUNK_TOKENS, end), "exact")
        after = before + np.cumsum(spelled)
        places = after - spelled  # of the first byte of each token
        blocks = np.arange(count, int(places[-1]) // BLOCK_UNITS + 1)
        starts.append(begin + np.searchsorted(places, blocks * BLOCK_UNITS))
        before, count = int(after[-1]), count + len(blocks)
    return np.concatenate(starts).astype(np.int64)


def _fitted(units: Floats, pieces: DocumentPieces, wanted: Ints) -> Floats:
    """Bytes of pieces, in proportion, so that those of each span are as many as its score is over."""
    sums = np.bincount(pieces.span, weights=units, minlength=len(wanted))
    if np.array_equal(sums, wanted):
        return units
    counts = np.bincount(pieces.span, weights=pieces.lengths, minlength=len(wanted))
    spread = np.where(sums > 0, wanted / np.where(sums > 0, sums, 1.0), wanted / counts)[pieces.span]
    return np.asarray(np.where(sums[pieces.span] > 0, units * spread, pieces.lengths * spread))
