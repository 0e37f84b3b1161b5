"""Sliding windows: each span sees as much of the text before it as fits into the network."""

from __future__ import annotations

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.text.layouts.cut import Tail, cut
from bpb_harness.text.spans import Spans


def sliding(
    begin: int,
    end: int,
    context_length: int,
    stride: int,
    *,
    given: int = 0,
    tail: Tail = "score",
    end_is_known: bool = True,
) -> Spans:
    """Windows of ``context_length`` tokens of which the last ``stride`` are paid for; of the first, all are.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: most tokens that the network takes.
        stride: S, tokens paid for in each window after the first.
        given: first tokens of the text that nobody pays for: 1 of a causal network, which takes no token but predicts
            the one behind it, so that the last token of a span is not in its input.
        tail: `drop` leaves out the last span if it is shorter than it should be.
        end_is_known: a last, shorter span sees so much more before it. Not where tokens that are yet to be paid for
            decide where it ends: how much is visible would tell.

    Raises:
        UsageError: if the stride does not lie in 1 .. context_length.
    """
    if not 1 <= stride <= context_length:
        raise UsageError("--stride", seen=stride, expected=f"1 .. {context_length}, the context length")
    starts, ends = cut(begin + given, end, context_length, later=stride, tail=tail)
    upto = ends if end_is_known else starts + stride
    context_starts = np.maximum(begin, upto - given - context_length)
    context_starts[:1] = begin
    return Spans(context_starts, starts, ends)
