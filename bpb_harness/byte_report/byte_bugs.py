"""The catalogue of byte bugs: what each would have counted, on any tokenizer and any tokens.

Every entry of `BYTE_BUGS` is a pattern that has been met in published code. `count` gives the number of bytes that code
with the bug would have divided by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count import ByteCounter, PieceKind, Tokenizer, TokenSource

_SYMBOL = "\u2581".encode()
_CHUNK_TOKENS = 1 << 18
_PRIVATE_USE = range(0xE000, 0xF900)


@dataclass(frozen=True)
class ByteBug:
    """One way to get the denominator wrong.

    Attributes:
        name: a slug, stable.
        pattern: what the code does.
        effect: its effect on the number of bytes where it was published.
        count: bytes by this bug; a float where the bug has no whole number of bytes.
    """

    name: str
    pattern: str
    effect: str
    count: Callable[[Tokenizer, TokenSource], float]


def space_counted_twice(tokenizer: Tokenizer, source: TokenSource) -> int:
    """The table holds ``len(piece[1:]) + 1`` and the loop adds 1 again."""
    return _official(tokenizer, source) + _occurrences(tokenizer, source, _leads(tokenizer))


def space_twice_pieces_by_spelling(tokenizer: Tokenizer, source: TokenSource) -> int:
    """The same, with byte pieces as the 6 characters of ``<0xXX>`` and special tokens by their names (``<s>`` is 3)."""
    counts = _histogram(tokenizer, source)
    spelled_out = sum(
        int(counts[token]) * len(tokenizer.pieces[token].encode())
        for token in np.flatnonzero(_boundary(tokenizer)).tolist()
    )
    return byte_pieces_by_spelling(tokenizer, source) + int(counts[_leads(tokenizer)].sum()) + spelled_out


def question_mark_for_space(tokenizer: Tokenizer, source: TokenSource) -> int:
    """``startswith("?")`` where U+2581 was meant: a space counts its 3 bytes, and a question mark is taken for one."""
    lengths = np.where(_boundary(tokenizer), 0, [len(piece) for piece in tokenizer.piece_bytes])
    asks = np.array([piece.startswith(b"?") for piece in tokenizer.piece_bytes], bool) & _is_text(tokenizer)
    return int(_histogram(tokenizer, source) @ lengths) - _after_boundary(tokenizer, source, asks)


def space_counts_three(tokenizer: Tokenizer, source: TokenSource) -> int:
    """A space that is a token of its own counts the 3 bytes of U+2581.

    With no bare U+2581 in the vocabulary the official rule itself does this, for every space that is spelled as three
    byte pieces; with one, code that counts the bare piece by its own length does.
    """
    bare = np.array([piece == _SYMBOL for piece in tokenizer.piece_bytes], bool) & _is_text(tokenizer)
    after = _after_boundary(tokenizer, source, bare)
    return _official(tokenizer, source) + 2 * _occurrences(tokenizer, source, bare) + after


def space_never_counted(tokenizer: Tokenizer, source: TokenSource) -> int:
    """The leading U+2581 is stripped and the space that it stands for is not added."""
    leads = _leads(tokenizer)
    counted = _occurrences(tokenizer, source, leads) - _after_boundary(tokenizer, source, leads)
    return _official(tokenizer, source) - counted


def byte_pieces_by_spelling(tokenizer: Tokenizer, source: TokenSource) -> int:
    """A byte piece counts as the 6 characters of ``<0xXX>``."""
    is_byte = tokenizer.piece_kinds == PieceKind.BYTE
    return _official(tokenizer, source) + 5 * _occurrences(tokenizer, source, is_byte)


def constant_bytes_per_token(tokenizer: Tokenizer, source: TokenSource, *, constant: float) -> float:
    """Tokens times a constant."""
    del tokenizer
    return source.num_tokens * constant


def foreign_tokenizer(tokenizer: Tokenizer, source: TokenSource, *, foreign: Tokenizer | None = None) -> int:
    """The pieces of a tokenizer that does not belong to the tokens; ids that it lacks count 0.

    Args:
        tokenizer: the right one; counted with itself where no other is given.
        source: the tokens.
        foreign: the wrong one.
    """
    wrong = foreign or tokenizer
    counter, total = ByteCounter(wrong), 0
    before: int | None = None
    for tokens in _chunks(source):
        known = tokens[tokens < wrong.vocab_size]
        total += int(counter.per_token(known, previous=before).sum())
        before = int(known[-1]) if len(known) else before
    return total


def sentinels_as_text(tokenizer: Tokenizer, source: TokenSource) -> int:
    """Characters that a text transform put in (private use, as for rewritten capitals) count as text.

    This is the official rule on transformed text; `sentinel_bytes` of them are no text.
    """
    return _official(tokenizer, source)


def sentinel_bytes(tokenizer: Tokenizer, source: TokenSource) -> int:
    """Bytes of private-use characters in the pieces of the tokens: 3 each."""
    each = np.array([_private_use_bytes(piece) for piece in tokenizer.pieces], np.int64) * _is_text(tokenizer)
    return int(_histogram(tokenizer, source) @ each)


def decoded_one_by_one(tokenizer: Tokenizer, source: TokenSource) -> int:
    """``decode([id])`` token by token: a byte piece above 0x7F alone becomes U+FFFD, which counts 3."""
    torn = np.array(
        [
            kind == PieceKind.BYTE and piece[0] > 0x7F
            for kind, piece in zip(tokenizer.piece_kinds, tokenizer.piece_bytes, strict=True)
        ],
        bool,
    )
    return _official(tokenizer, source) + 2 * _occurrences(tokenizer, source, torn)


def summed_in_16_bits(tokenizer: Tokenizer, source: TokenSource, *, tokens_per_sum: int = 65_536) -> int:
    """The bytes of each batch are summed in int16, which wraps at 32,768.

    Args:
        tokenizer: the tokenizer.
        source: the tokens.
        tokens_per_sum: tokens of a batch: 32 windows of 2,048 where nothing else is known.
    """
    sums = _block_sums(tokenizer, source, tokens_per_sum)
    return int(((sums + 2**15) % 2**16 - 2**15).sum())


def mean_of_ratios(tokenizer: Tokenizer, source: TokenSource, *, context_length: int = 1024) -> float:
    """The score is the mean over windows of bits per byte.

    There is no number of bytes that it divides by. This is the one that would have given the same score with the same
    bits for every token: tokens over the mean of tokens per byte. Windows without bytes are left out.

    Args:
        tokenizer: the tokenizer.
        source: the tokens.
        context_length: L.
    """
    num_bytes = _block_sums(tokenizer, source, context_length)
    lengths = np.full(len(num_bytes), context_length, np.int64)
    lengths[-1] = source.num_tokens - context_length * (len(num_bytes) - 1)
    ratios = lengths[num_bytes > 0] / num_bytes[num_bytes > 0]
    return source.num_tokens / float(ratios.mean()) if len(ratios) else 0.0


def bytes_of_a_subset(tokenizer: Tokenizer, source: TokenSource, *, num_tokens: int = 2**20) -> int:
    """The bytes of the first tokens alone, under the bits of all.

    Args:
        tokenizer: the tokenizer.
        source: the tokens.
        num_tokens: how many tokens' bytes were taken.
    """
    counter = ByteCounter(tokenizer)
    stop = min(num_tokens, source.num_tokens)
    return sum(
        int(counter.span(source, start, min(start + _CHUNK_TOKENS, stop)).sum())
        for start in range(0, stop, _CHUNK_TOKENS)
    )


def _constant(value: float) -> ByteBug:
    return ByteBug(
        f"constant_{value}",
        f"tokens times {value}, a constant number of bytes per token",
        "any",
        partial(constant_bytes_per_token, constant=value),
    )


PUBLISHED_CONSTANTS = (4.3, 3.5, 3.67, 2.35, 3.8)

BYTE_BUGS: dict[str, ByteBug] = {
    bug.name: bug
    for bug in (
        ByteBug(
            "space_counted_twice",
            "len(piece[1:]) + 1 in the table and + 1 again in the loop",
            "x 1.16714",
            space_counted_twice,
        ),
        ByteBug(
            "space_twice_pieces_by_spelling",
            "the space counted twice, byte pieces as 6 and <s> as 3",
            "x 1.17704",
            space_twice_pieces_by_spelling,
        ),
        ByteBug(
            "question_mark_for_space", 'startswith("?") where U+2581 was meant', "x 1.33428", question_mark_for_space
        ),
        ByteBug("space_counts_three", "no bare U+2581 in the vocabulary", "x 1.215 to 1.28", space_counts_three),
        ByteBug("space_never_counted", "the leading space is never counted", "x 0.83286", space_never_counted),
        ByteBug(
            "byte_pieces_by_spelling",
            "byte pieces counted by their spelling <0xXX>",
            "x 1.01 to 1.065",
            byte_pieces_by_spelling,
        ),
        *map(_constant, PUBLISHED_CONSTANTS),
        ByteBug(
            "foreign_tokenizer", "the tokenizer does not belong to the shards", "x 1.09 to 1.27", foreign_tokenizer
        ),
        ByteBug(
            "sentinels_as_text",
            "sentinel characters of a text transform counted as text",
            "x 1.0895",
            sentinels_as_text,
        ),
        ByteBug(
            "decoded_one_by_one",
            "decode([id]) token by token, U+FFFD counted 3",
            "too many bytes",
            decoded_one_by_one,
        ),
        ByteBug("summed_in_16_bits", "the bytes of a batch summed in int16", "any", summed_in_16_bits),
        ByteBug("mean_of_ratios", "the mean of each window's bits per byte", "any", mean_of_ratios),
        ByteBug("bytes_of_a_subset", "a subset's bytes with the full split's bits", "any", bytes_of_a_subset),
    )
}


def count_bugs(tokenizer: Tokenizer, source: TokenSource, names: Sequence[str] = tuple(BYTE_BUGS)) -> dict[str, float]:
    """Bytes by each bug of the catalogue, by its name."""
    return {name: BYTE_BUGS[name].count(tokenizer, source) for name in names}


# --- what the functions above are made of -------------------------------------------------------------------------


def _official(tokenizer: Tokenizer, source: TokenSource) -> int:
    return ByteCounter(tokenizer).total(source, "official")


def _is_text(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    return np.asarray(tokenizer.piece_kinds == PieceKind.TEXT)


def _boundary(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    return np.isin(tokenizer.piece_kinds, (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED))


def _leads(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Pieces that begin with the space that the official rule adds."""
    starts = [tokenizer.spaces.escapes and piece.startswith(_SYMBOL) for piece in tokenizer.piece_bytes]
    return np.array(starts, bool) & _is_text(tokenizer)


def _private_use_bytes(piece: str) -> int:
    return sum(len(character.encode()) for character in piece if ord(character) in _PRIVATE_USE)


def _chunks(source: TokenSource) -> Iterator[NDArray[np.int64]]:
    for start in range(0, source.num_tokens, _CHUNK_TOKENS):
        yield source.read(start, min(start + _CHUNK_TOKENS, source.num_tokens))


def _histogram(tokenizer: Tokenizer, source: TokenSource) -> NDArray[np.int64]:
    """Occurrences of each id; (V,) int64."""
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for tokens in _chunks(source):
        counts += np.bincount(tokens, minlength=tokenizer.vocab_size)
    return counts


def _occurrences(tokenizer: Tokenizer, source: TokenSource, chosen: NDArray[np.bool_]) -> int:
    return int(_histogram(tokenizer, source)[chosen].sum())


def _after_boundary(tokenizer: Tokenizer, source: TokenSource, chosen: NDArray[np.bool_]) -> int:
    """How often a chosen token follows a boundary, or starts the text."""
    boundary, total = _boundary(tokenizer), 0
    before = np.ones(1, bool)
    for tokens in _chunks(source):
        ends = boundary[tokens]
        total += int((chosen[tokens] & np.concatenate([before, ends[:-1]])).sum())
        before = ends[-1:]
    return total


def _block_sums(tokenizer: Tokenizer, source: TokenSource, block: int) -> NDArray[np.int64]:
    """Official bytes of each run of `block` tokens; the last may be shorter."""
    counter = ByteCounter(tokenizer)
    starts = range(0, source.num_tokens, block)
    sums = [int(counter.span(source, start, min(start + block, source.num_tokens)).sum()) for start in starts]
    return np.array(sums, np.int64)
