"""Spans that tests score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans, windows


def end_to_end(lengths: Sequence[int], *, begin: int = 0) -> Spans:
    """Windows of these lengths, one after the other."""
    ends = begin + np.cumsum(lengths)
    return Spans.without_context(ends - np.array(lengths, dtype=np.int64), ends)


def windows_of(corpus: Corpus, length: int, *, limit: int | None = None, tail: str = "score") -> Spans:
    """A corpus in windows of one length."""
    return windows(0, corpus.num_tokens, length, tail=tail).take(slice(limit))  # type: ignore[arg-type]


def documents_of(corpus: Corpus) -> Spans:
    """The documents of a text that knows where they start."""
    starts = corpus.document_starts()
    return Spans.without_context(starts, np.append(starts[1:], corpus.num_tokens))
