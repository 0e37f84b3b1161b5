"""Which layout the settings ask for."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import CorpusError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.text.spans import Spans, blocks, sliding, windows, within_documents


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
        seen = f"{num_tokens} tokens, windows of {context_length}, tail {settings.tail}"
        raise CorpusError("nothing is left to score", seen=seen, hint="pass more text, or --tail score")
    return spans


def limited(settings: Settings, spans: Spans) -> Spans:
    """The first spans, as many as ``--limit`` says; of windows cut into blocks, all blocks of so many windows."""
    if settings.block_size is None or settings.limit is None:
        return spans.take(slice(settings.limit))
    window_starts = np.unique(spans.context_starts)
    return spans.take(np.flatnonzero(spans.context_starts <= window_starts[: settings.limit][-1]))
