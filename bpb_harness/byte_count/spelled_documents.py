"""What each document of a text spells, many at a time: `Tokenizer.decode`, with no turn of the interpreter a token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.tokenizer import SPACE_SYMBOL, PieceKind, Tokenizer

Ints = NDArray[np.int64]

_SPACE = SPACE_SYMBOL.encode()
_TOKENS_AT_ONCE = 1 << 20  # of whole documents
_TOKENS_IN_CACHE = 1 << 16


class Text(Protocol):
    """Where tokens come from."""

    @property
    def num_tokens(self) -> int:
        """N."""

    def read(self, start: int, stop: int) -> Ints:
        """Tokens start .. stop - 1."""


def spelled_documents(tokenizer: Tokenizer, text: Text, starts: Ints) -> Iterator[bytes]:
    """What `tokenizer.decode` gives for each document.

    Args:
        tokenizer: one whose bytes can be counted.
        text: the tokens.
        starts: (documents,) where each begins, ascending, 0 first.
    """
    speller, ends = _Speller(tokenizer), np.append(starts[1:], text.num_tokens)
    first = 0
    while first < len(starts):
        last = max(int(np.searchsorted(ends, starts[first] + _TOKENS_AT_ONCE, side="right")), first + 1)
        begin = int(starts[first])
        yield from speller.documents(text.read(begin, int(ends[last - 1])), starts[first:last] - begin)
        first = last


@final
class _Speller:
    """Bytes of tokens, gathered from one table of all pieces."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._spaces, kinds = tokenizer.spaces, tokenizer.piece_kinds
        self._letters = np.frombuffer(b"".join(tokenizer.piece_bytes), np.uint8)
        self._lengths = np.array([len(piece) for piece in tokenizer.piece_bytes], np.int64)
        self._begins = np.cumsum(self._lengths) - self._lengths
        self._is_control, self._is_unknown = kinds == PieceKind.CONTROL, kinds == PieceKind.UNKNOWN

    def documents(self, tokens: Ints, starts: Ints) -> list[bytes]:
        """What documents spell that begin at some places of these tokens, the first of them at 0."""
        lengths, is_control = self._lengths[tokens], self._is_control[tokens]
        letters = self._gathered(tokens, lengths)
        begins = np.union1d(np.flatnonzero(is_control), starts)  # a control token starts a text
        ends = np.append(begins[1:], len(tokens))
        after = np.append(0, np.cumsum(lengths))
        # The token that opens a text stands behind the control token, if it has one; the last one closes it. A text
        # without either spells nothing, and has no space to lose.
        opens = np.minimum(begins + is_control[begins], ends - 1)
        strips_first = self._spaces.dummy_prefix & ~self._is_unknown[tokens[opens]]
        strips_last = self._spaces.dummy_suffix & ~self._is_unknown[tokens[ends - 1]]
        texts = [
            self._text(letters[begin:end], strips_first=first, strips_last=last)
            for begin, end, first, last in zip(
                after[begins].tolist(), after[ends].tolist(), strips_first.tolist(), strips_last.tolist(), strict=True
            )
        ]
        borders = [*np.searchsorted(begins, starts).tolist(), len(begins)]
        return [
            texts[begin] if end - begin == 1 else b"".join(texts[begin:end])
            for begin, end in itertools.pairwise(borders)
        ]

    def _gathered(self, tokens: Ints, lengths: Ints) -> bytes:
        """Bytes of the pieces, one after the other."""
        parts = []
        for start in range(0, len(tokens), _TOKENS_IN_CACHE):
            some, counts = tokens[start : start + _TOKENS_IN_CACHE], lengths[start : start + _TOKENS_IN_CACHE]
            ends = np.cumsum(counts)
            places = np.repeat(self._begins[some] - (ends - counts), counts) + np.arange(int(ends[-1]))
            parts.append(self._letters[places].tobytes())
        return b"".join(parts)

    def _text(self, spelled: bytes, *, strips_first: bool, strips_last: bool) -> bytes:
        if self._spaces.escapes:
            spelled = spelled.replace(_SPACE, b" ")
        if strips_first:
            spelled = spelled.removeprefix(b" ")
        return spelled.removesuffix(b" ") if strips_last else spelled
