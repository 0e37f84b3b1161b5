"""What a document spells and what each token of it cost: for a reader to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Piece:
    """A token as a reader sees it.

    Attributes:
        spelled: its bytes; empty for a token that spells nothing.
        bits: what it cost; None for one that was given, not paid for, or whose own cost is not known.
        name: of a token that spells nothing.
    """

    spelled: bytes
    bits: float | None
    name: str = ""


@final
@dataclass(frozen=True)
class Excerpt:
    """The beginning of a document.

    Attributes:
        document: which, counted from 0.
        pieces: its tokens, in their order.
        num_bytes_left_out: bytes of the document behind them.
    """

    document: int
    pieces: tuple[Piece, ...]
    num_bytes_left_out: int
