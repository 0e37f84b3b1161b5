"""A text cut into chunks, each of which is scored before it is learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.text.spans import Spans


@final
@dataclass(frozen=True)
class Chunk:
    """Spans that are scored by one state of the network, and the tokens that are handed over once they are.

    Attributes:
        index: 0, 1, ...
        first: of the spans.
        stop: behind the last of them; with ``first`` alone where a span of an earlier chunk paid for all of this one.
        begin: position in the corpus of the first token handed over.
        end: position behind the last; nothing at or behind it has been read when the chunk is learnt.
    """

    index: int
    first: int
    stop: int
    begin: int
    end: int


def cut_chunks(spans: Spans, chunk_tokens: int, *, is_causal: bool) -> list[Chunk]:
    """Cut a text that spans pay for into chunks.

    A span belongs to the chunk of its first target. One that reaches into the next chunk is paid for before any of its
    tokens is learnt. Chunk k hands over targets k C .. (k + 1) C - 1 of the text, all of which spans of the chunks up
    to k have paid for; a causal network gets the token before them too, from which it predicts the first.

    Args:
        spans: that partition a text, in its order.
        chunk_tokens: C.
        is_causal: whether the token before the first target is handed over.

    Raises:
        UsageError: for spans between which tokens lie that nobody pays for.
    """
    start, end = int(spans.starts[0]), int(spans.ends[-1])
    gaps = np.flatnonzero(spans.starts[1:] != spans.ends[:-1])
    if len(gaps):
        raise UsageError(
            "--ttt learns from tokens that were paid for, all of them in order",
            seen=f"tokens {int(spans.ends[gaps[0]])} .. {int(spans.starts[gaps[0] + 1]) - 1}, which are given",
            expected="a text of which every token but the first is paid for",
            hint="leave out what makes tokens given: --unpaid-prefix, --per-document of an autoregressive model",
        )
    number = -(-(end - start) // chunk_tokens)
    first_targets = (spans.starts - start) // chunk_tokens
    borders = np.searchsorted(first_targets, np.arange(number + 1))
    before = int(is_causal)
    return [
        Chunk(
            index, int(borders[index]), int(borders[index + 1]), start + index * chunk_tokens - before,
            min(start + (index + 1) * chunk_tokens, end),
        )
        for index in range(number)
    ]  # fmt: skip
