"""Blocks: within each window, every block sees all blocks before it (block diffusion, arXiv 2503.09573)."""

from __future__ import annotations

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.text.layouts.cut import Tail, cut, require_prefix
from bpb_harness.text.spans import Spans


def blocks(
    begin: int, end: int, context_length: int, block_size: int, *, tail: Tail = "score", unpaid_prefix: int = 0
) -> Spans:
    """Cut tokens begin .. end - 1 into windows, and each window into blocks.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: L, the length of every window but perhaps the last.
        block_size: B, tokens of every block but perhaps the last of the last window.
        tail: `drop` leaves out the last window if it is shorter.
        unpaid_prefix: so many tokens of each window are visible and not paid for.

    Raises:
        UsageError: if the blocks do not fill a window, or the prefix leaves nothing of it.
    """
    require_prefix(unpaid_prefix, context_length)
    if not 1 <= block_size <= context_length or context_length % block_size:
        raise UsageError(
            "--block-size", seen=block_size, expected=f"a divisor of {context_length}, the tokens of a window",
            hint="pass --context L, a multiple of it",
        )  # fmt: skip
    window_starts, window_ends = cut(begin, end, context_length, tail=tail)
    if not len(window_starts):
        return Spans.without_context(window_starts, window_ends)
    # Every window but the last is full, so that blocks lie end to end from the first to the last of them.
    starts, ends = cut(begin, int(window_ends[-1]), block_size)
    context_starts = begin + (starts - begin) // context_length * context_length
    starts, ends = np.maximum(starts, context_starts + unpaid_prefix), np.minimum(ends, window_ends[-1])
    paid = starts < ends
    return Spans(context_starts[paid], starts[paid], ends[paid])
