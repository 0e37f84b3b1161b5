"""Windows: each is scored by itself, and nothing before it is visible."""

from __future__ import annotations

from bpb_harness.text.layouts.cut import Tail, cut, require_prefix
from bpb_harness.text.spans import Spans


def windows(begin: int, end: int, context_length: int, *, tail: Tail = "score", unpaid_prefix: int = 0) -> Spans:
    """Cut tokens begin .. end - 1 into windows, each token in exactly one.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: L, the length of every window but perhaps the last.
        tail: `score` keeps the last, shorter window; `drop` leaves it out, as the official evaluator does.
        unpaid_prefix: so many tokens of each window are visible and not paid for; a window with no other token is left
            out.

    Raises:
        UsageError: if the prefix leaves nothing of a window.
    """
    require_prefix(unpaid_prefix, context_length)
    starts, ends = cut(begin, end, context_length, tail=tail)
    paid = starts + unpaid_prefix < ends
    return Spans(starts[paid], starts[paid] + unpaid_prefix, ends[paid])
