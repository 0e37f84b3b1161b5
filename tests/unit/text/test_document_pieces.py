"""Which scored token is whose, against a loop over all tokens."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.text.document_pieces import document_pieces
from bpb_harness.text.spans import blocks, sliding, windows, within_documents

NUM_TOKENS = 61
BORDERS = {
    "one": [0],
    "several": [0, 3, 4, 17, 18, 40, 60],
    "without tokens": [0, 0, 5, 5, 5, 33, 61, 61],
    "each token": list(range(NUM_TOKENS)),
}
LAYOUTS = {
    "windows": lambda _: windows(0, NUM_TOKENS, 8),
    "tail": lambda _: windows(0, NUM_TOKENS, 8, tail="drop"),
    "prefix": lambda _: windows(0, NUM_TOKENS, 8, unpaid_prefix=3),
    "stride": lambda _: sliding(0, NUM_TOKENS, 8, 3),
    "causal": lambda _: sliding(0, NUM_TOKENS, 8, 8, given=1),
    "blocks": lambda _: blocks(0, NUM_TOKENS, 8, 4),
    "limit": lambda _: windows(0, NUM_TOKENS, 8).take(slice(3)),
    "documents": lambda starts: within_documents(starts, NUM_TOKENS, lambda a, b: windows(a, b, 8)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("borders", BORDERS)
def test_every_target_is_in_one_piece_of_its_span_and_document(borders, layout):
    starts = np.array(BORDERS[borders], dtype=np.int64)
    spans = LAYOUTS[layout](starts)
    pieces = document_pieces(starts, spans)
    expected = []
    for index in range(len(spans)):
        for position in range(int(spans.starts[index]), int(spans.ends[index])):
            document = max(number for number, start in enumerate(BORDERS[borders]) if start <= position)
            expected.append((index, document, position))
    found = [
        (int(pieces.span[row]), int(pieces.document[row]), position)
        for row in range(len(pieces))
        for position in range(int(pieces.starts[row]), int(pieces.ends[row]))
    ]
    assert found == expected
    assert len(pieces) == len({(index, document) for index, document, _ in expected})  # the longest stretches
    assert (pieces.lengths > 0).all()
    assert pieces.lie_in_one_document == (len({(i, d) for i, d, _ in expected}) == len(spans))
    values = np.arange(len(expected)) ** 2.0
    sums = dict.fromkeys(dict.fromkeys((i, d) for i, d, _ in expected), 0.0)
    for (index, document, _), value in zip(expected, values, strict=True):
        sums[index, document] += value
    assert pieces.of_tokens(values).tolist() == list(sums.values())
    assert pieces.as_spans().num_tokens == len(expected)


def test_nothing_is_no_piece():
    pieces = document_pieces(np.zeros(1, np.int64), windows(0, 0, 8))
    assert len(pieces) == len(pieces.of_tokens(np.zeros(0))) == 0
