"""What spans spell, and which documents they touch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter, Rule
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]

_CHUNK_TOKENS = 1 << 17  # so many stay in a cache: a million take four times as long each


def span_bytes(corpus: Corpus, spans: Spans, counter: ByteCounter, rule: Rule = "official") -> Ints:
    """Bytes of the targets of each span, every token in the context of the whole stream; (N,) int64.

    Args:
        corpus: the token stream.
        spans: in the order of their targets.
        counter: of the tokenizer.
        rule: how bytes are counted.
    """
    sums = np.empty(len(spans), np.int64)
    for first, last in _runs(spans):
        start, stop = int(spans.starts[first]), int(spans.ends[last - 1])
        counted = np.concatenate([[0], np.cumsum(counter.span(corpus, start, stop, rule))])
        sums[first:last] = counted[spans.ends[first:last] - start] - counted[spans.starts[first:last] - start]
    return sums


def span_documents(document_starts: Ints, spans: Spans) -> Ints:
    """The first and the last document that the targets of each span touch; (N, 2) int64, documents counted from 0."""
    first = np.searchsorted(document_starts, spans.starts, side="right") - 1
    last = np.searchsorted(document_starts, spans.ends - 1, side="right") - 1
    return np.stack([first, last], axis=1).astype(np.int64)


def document_bytes(corpus: Corpus, counter: ByteCounter, rule: Rule = "official", bos_id: int | None = None) -> Ints:
    """Bytes of the tokens of each document; (documents,) int64."""
    starts = corpus.document_starts(bos_id)
    return span_bytes(corpus, Spans.without_context(starts, np.append(starts[1:], corpus.num_tokens)), counter, rule)


def _runs(spans: Spans) -> Iterator[tuple[int, int]]:
    """Runs of spans that lie one after the other and are worth one read."""
    first = 0
    for index in range(1, len(spans) + 1):
        if index == len(spans) or int(spans.starts[index] - spans.starts[first]) >= _CHUNK_TOKENS:
            yield first, index
            first = index
