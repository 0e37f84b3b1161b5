"""Pieces of a text that lie end to end."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError

Ints = npt.NDArray[np.int64]
Tail = Literal["score", "drop"]


def cut(begin: int, end: int, length: int, *, later: int | None = None, tail: Tail = "score") -> tuple[Ints, Ints]:
    """Where each piece of tokens begin .. end - 1 starts and ends, (N,) int64 each.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        length: tokens of the first piece.
        later: tokens of each later one; the same if None.
        tail: `score` keeps a last piece that is shorter than it should be; `drop` leaves it out.
    """
    step = length if later is None else later
    first = np.arange(begin, min(begin + 1, end), dtype=np.int64)
    starts = np.concatenate([first, np.arange(begin + length, end, step, dtype=np.int64)])
    ends = np.append(starts[1:], end)[: len(starts)]
    if tail == "drop" and len(starts) and ends[-1] - starts[-1] < (step if len(starts) > 1 else length):
        starts, ends = starts[:-1], ends[:-1]
    return starts, ends


def require_prefix(unpaid_prefix: int, context_length: int) -> None:
    """Refuse a prefix that leaves nothing of a window.

    Raises:
        UsageError: naming the longest.
    """
    if not 0 <= unpaid_prefix < context_length:
        raise UsageError(
            "--unpaid-prefix", seen=unpaid_prefix, expected=f"0 .. {context_length - 1}, below the tokens of a window"
        )
