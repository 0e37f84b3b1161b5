"""The bytes of every token in the context of its stream: two rules, vectorised, in bounded memory.

official  what the parameter-golf leaderboard counts: the piece without its leading U+2581, plus one byte for that space
          unless the token before is a boundary (control, unknown, unused) or there is none; a byte piece is 1.
exact     the bytes of the normalised text that the pieces spell: every U+2581 of a piece is one byte, wherever it
          stands; byte pieces E2 96 81 in a row are one space; a dummy prefix is no text; a space after an unknown
          token is.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.tokenizer import SPACE_SYMBOL, PieceKind, Tokenizer
from bpb_harness.errors import CorpusError

Rule = Literal["official", "exact"]
Tokens = NDArray[np.integer]

TOKENS_BEFORE, TOKENS_AFTER = 3, 3  # context that the exact rule needs: BOS E2 96 |81|, and |E2| 96 81 EOS
CHUNK_TOKENS = 1 << 16  # the work of a chunk stays in the second-level cache

_LEADS, _IS_BOUNDARY, _FLAG_BITS = 1, 2, 2  # the official rule packed into one number a token: bytes << 2 | flags


class TokenSource(Protocol):
    """What a total can be taken over, beside an array: a corpus."""

    @property
    def num_tokens(self) -> int:
        """N."""

    @property
    def known_document_starts(self) -> NDArray[np.int64] | None:
        """Where documents start, where that is known without looking at the tokens."""

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Tokens start .. stop - 1."""


class ByteCounter:
    """Bytes of tokens, from a tokenizer's pieces alone; immutable and picklable.

    Attributes:
        vocab_size: V.
        digest: sha256 of the tokenizer's file.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.uncountable is None, tokenizer.uncountable
        self.vocab_size, self.digest = tokenizer.vocab_size, tokenizer.digest
        kinds, spelled, self._spaces = tokenizer.piece_kinds, tokenizer.piece_bytes, tokenizer.spaces
        symbol = SPACE_SYMBOL.encode()
        escapes = self._spaces.escapes
        self._boundary = np.isin(kinds, (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED))
        self._separates = kinds == PieceKind.CONTROL
        self._byte = np.array(
            [piece[0] if is_byte else -1 for piece, is_byte in zip(spelled, kinds == PieceKind.BYTE, strict=True)],
            np.int16,
        )
        leads = np.array([escapes and piece.startswith(symbol) for piece in spelled], bool) & ~self._boundary
        lengths = np.array([len(piece) for piece in spelled], np.int64)
        self._official = np.where(self._boundary, 0, lengths - 3 * leads) << _FLAG_BITS
        self._official |= leads * _LEADS | self._boundary * _IS_BOUNDARY
        inner = np.array([piece.count(symbol) if escapes else 0 for piece in spelled], np.int64)
        self._exact = lengths - 2 * inner
        space = symbol if escapes else b" "
        self._starts_with_space = np.array([piece.startswith(space) for piece in spelled], bool)
        self._ends_with_space = np.array([piece.endswith(space) for piece in spelled], bool)
        self._spells_spaces_in_bytes = escapes and bool(np.isin([0xE2, 0x96, 0x81], self._byte).all())
        for table in vars(self).values():
            if isinstance(table, np.ndarray):
                table.setflags(write=False)

    def per_token(
        self,
        tokens: Tokens,
        *,
        rule: Rule = "official",
        previous: int | Tokens | None = None,
        following: int | Tokens | None = None,
        text_starts: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Bytes of each token in context.

        Args:
            tokens: (N,) ids.
            rule: `official` or `exact`.
            previous: the token before the first, or several; None: the text starts here. The exact rule looks at
                `TOKENS_BEFORE` of them where spaces are spelled as byte pieces, else at one.
            following: the same behind the last, for the exact rule; None: the text ends here.
            text_starts: positions in `tokens` (0 is its first; -1 .. for those before) where a document starts that no
                control token sets off, for the exact rule.

        Returns:
            (N,) int64. Of three byte pieces that spell one space the last one has the byte.

        Raises:
            CorpusError: an id outside 0..V-1.
        """
        assert rule in get_args(Rule)
        before, after = _context(previous)[-TOKENS_BEFORE:], _context(following)[:TOKENS_AFTER]
        stream = np.concatenate([before, np.asarray(tokens, np.int64).ravel(), after])
        if stream.size and (stream.min() < 0 or stream.max() >= self.vocab_size):
            raise self._out_of_range(stream)
        if rule == "official":
            counted = self._official_stream(stream)
        else:
            starts = np.zeros(0, np.int64) if text_starts is None else text_starts + len(before)
            counted = self._exact_stream(stream, starts[(starts > 0) & (starts < len(stream))])
        return counted[len(before) : len(stream) - len(after)]

    def total(self, corpus_or_tokens: TokenSource | Tokens, rule: Rule = "official") -> int:
        """Bytes of all tokens, from the start of the text; memory stays at a few times `CHUNK_TOKENS`.

        Args:
            corpus_or_tokens: a corpus, or an array of ids, memory-mapped or not.
            rule: `official` or `exact`.

        Raises:
            CorpusError: an id outside 0..V-1.
        """
        if rule == "official":
            return self._official_total(corpus_or_tokens)
        size = _size(corpus_or_tokens)
        total = 0
        for start in range(0, size, CHUNK_TOKENS):
            stop = min(start + CHUNK_TOKENS, size)
            total += int(self.span(corpus_or_tokens, start, stop, rule).sum())
        return total

    def span(
        self, corpus_or_tokens: TokenSource | Tokens, start: int, stop: int, rule: Rule = "official"
    ) -> NDArray[np.int64]:
        """Bytes of tokens start .. stop - 1, each in the context of the whole stream; (stop - start,) int64."""
        size = _size(corpus_or_tokens)
        first, last = max(0, start - TOKENS_BEFORE), min(size, stop + TOKENS_AFTER)
        stream = _read(corpus_or_tokens, first, last)
        cut = start - first
        starts = None if isinstance(corpus_or_tokens, np.ndarray) else corpus_or_tokens.known_document_starts
        if starts is not None:
            starts = starts[np.searchsorted(starts, first) : np.searchsorted(starts, last)] - start
        return self.per_token(
            stream[cut : cut + stop - start],
            rule=rule,
            previous=stream[:cut] if cut else None,
            following=stream[cut + stop - start :] if last > stop else None,
            text_starts=starts,
        )

    def _out_of_range(self, tokens: Tokens) -> CorpusError:
        worst = int(tokens.min()) if int(tokens.min()) < 0 else int(tokens.max())
        return CorpusError(
            "a token id outside the tokenizer's vocabulary",
            seen=worst,
            expected=f"0..{self.vocab_size - 1}",
            hint="the tokenizer does not belong to these tokens",
        )

    def _official_stream(self, stream: NDArray[np.int64]) -> NDArray[np.int64]:
        packed = self._official[stream]
        counted = packed >> _FLAG_BITS
        after_text = np.zeros(len(stream), np.int64)
        after_text[1:] = (packed[:-1] & _IS_BOUNDARY) == 0
        return counted + ((packed & _LEADS) & after_text)

    def _official_total(self, source: TokenSource | Tokens) -> int:
        size, total = _size(source), 0
        table = self._official.astype(np.int32)
        last = np.array([_IS_BOUNDARY], np.int32)  # the start of the text is a boundary
        for start in range(0, size, CHUNK_TOKENS):
            tokens = np.asarray(_read(source, start, min(start + CHUNK_TOKENS, size)), np.int64)
            try:
                packed = table[tokens]
            except IndexError:
                raise self._out_of_range(tokens) from None
            if int(tokens.min()) < 0:
                raise self._out_of_range(tokens)
            total += int(np.sum(packed >> _FLAG_BITS, dtype=np.int64))
            before = np.concatenate([last, packed[:-1]])
            total += int(np.count_nonzero(packed & ~(before >> 1) & _LEADS))
            last = packed[-1:].copy()
        return total

    def _exact_stream(self, stream: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
        counted = self._exact[stream]
        space_ends = np.zeros(0, np.int64)
        if self._spells_spaces_in_bytes and len(stream) >= 3:
            space_ends = _byte_spaces(self._byte[stream])
            counted[space_ends - 2] = counted[space_ends - 1] = 0
        if self._spaces.dummy_prefix:
            first = np.ones(len(stream), bool)  # the token that opens a text
            first[1:] = self._separates[stream[:-1]]
            first[starts] = True
            counted[first & self._starts_with_space[stream]] -= 1
            counted[space_ends[first[space_ends - 2]]] -= 1
        if self._spaces.dummy_suffix:
            last = np.ones(len(stream), bool)  # the token that closes a text
            last[:-1] = self._separates[stream[1:]]
            last[starts - 1] = True
            counted[last & self._ends_with_space[stream]] -= 1
            counted[space_ends[last[space_ends]]] -= 1
        return counted


def _byte_spaces(byte: NDArray[np.int16]) -> NDArray[np.int64]:
    """Positions of the third of three byte pieces E2 96 81.

    UTF-8 synchronises itself: those three bytes are U+2581 wherever they stand in a run.
    """
    ends = np.flatnonzero((byte[:-2] == 0xE2) & (byte[1:-1] == 0x96) & (byte[2:] == 0x81))
    return ends.astype(np.int64) + 2


def _context(tokens: int | Tokens | None) -> NDArray[np.int64]:
    return np.zeros(0, np.int64) if tokens is None else np.atleast_1d(np.asarray(tokens, np.int64))


def _size(source: TokenSource | Tokens) -> int:
    return len(source) if isinstance(source, np.ndarray) else source.num_tokens


def _read(source: TokenSource | Tokens, start: int, stop: int) -> NDArray[np.integer]:
    return source[start:stop] if isinstance(source, np.ndarray) else source.read(start, stop)
