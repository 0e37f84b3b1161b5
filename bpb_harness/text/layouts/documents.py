"""Documents: a layout within each of them, so that no span sees across a border."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bpb_harness.text.spans import Spans


def within_documents(
    document_starts: npt.NDArray[np.int64], end: int, layout: Callable[[int, int], Spans], *, given: int = 0
) -> Spans:
    """Lay spans over each document by itself.

    Args:
        document_starts: position of each document's first token, ascending.
        end: position behind the last token.
        layout: (begin, end) of a stretch of tokens -> its spans.
        given: tokens at the start of each document that it does not pay for: 1 of a causal network, whose next
            document starts with a token that the document before has paid for, and with it for its own end. Where it is
            0 the spans are scored given the documents' lengths, which is no code of the text.
    """
    borders = np.unique(np.minimum([0, *document_starts[1:], end - given], end - given))
    parts = [layout(int(begin), int(stop) + given) for begin, stop in itertools.pairwise(borders)]
    columns = [(part.context_starts, part.starts, part.ends) for part in parts]
    return Spans(*(np.concatenate(column) for column in zip(*columns, strict=True)))
