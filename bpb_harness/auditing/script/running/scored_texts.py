"""The texts that scoring functions are run on, and what they cost under the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpb_harness.auditing.script.running.known_means import LENGTH
from bpb_harness.byte_count import ByteCounter, PieceKind, Tokenizer

_LONG_WINDOWS = 48


@dataclass(frozen=True)
class Texts:
    """The texts that functions are run on.

    Attributes:
        window: L tokens, repeated in every window.
        with_boundary: the same, but the first is a boundary.
        long: a text without hidden tokens, a multiple of L and one more.
        bytes_per_window: of the repeated window, by the official rule.
    """

    window: tuple[int, ...]
    with_boundary: tuple[int, ...] | None
    long: tuple[int, ...]
    bytes_per_window: int


def choose_texts(tokenizer: Tokenizer) -> Texts:
    """Ordinary tokens with and without a leading space, a byte piece where there is one, a boundary for later."""
    kinds = np.asarray(tokenizer.piece_kinds)
    ordinary = [int(i) for i in np.flatnonzero(kinds == PieceKind.TEXT) if i >= 8]
    spaced = [i for i in ordinary if tokenizer.pieces[i].startswith("\u2581") and len(tokenizer.pieces[i]) > 2]
    plain = [i for i in ordinary if "\u2581" not in tokenizer.pieces[i]]
    byte_like = [int(i) for i in np.flatnonzero(kinds == PieceKind.BYTE) if i >= 8]
    boundary = [] if tokenizer.bos_id is None or tokenizer.bos_id < 0 else [int(tokenizer.bos_id)]
    if len(spaced) < 12 or len(plain) < 12:
        return Texts((), None, (), 0)
    third = byte_like[len(byte_like) // 3] if byte_like else plain[3]
    window = (plain[1], spaced[2], third, spaced[5])
    generator = np.random.default_rng(7)
    pool = [*spaced[:9], *plain[:9], *byte_like[40:42], *byte_like[170:172]]
    long = [int(i) for i in generator.choice(pool, LENGTH * _LONG_WINDOWS + 1)]
    for place in (9, 26, 77, 130):
        if boundary:
            long[place] = boundary[0]
            long[place + 1] = plain[4]  # a space after a boundary is counted by some bugs, and not by others
    long[1] = plain[2]  # where the first scored token has no space, it does not matter what stands before it
    counter = ByteCounter(tokenizer)
    repeated = np.array(window * 3, dtype=np.int64)
    per_token = counter.per_token(repeated, rule="official", previous=None)
    with_boundary = (boundary[0], *window[1:]) if boundary else None
    return Texts(window, with_boundary, tuple(long), int(per_token[LENGTH : 2 * LENGTH].sum()))


def next_token_nats(text: Sequence[int], vocab_size: int) -> float:
    """Mean of -log p(token | the one before) under the oracle, nats; what `Oracle` answers, worked out again."""
    before = np.array(text[:-1], dtype=np.float64)[:, None]
    column = np.arange(vocab_size, dtype=np.float64)[None, :]
    logits = 6.0 * np.sin(1.7 * before + 0.9 * column + 0.011 * before * column)
    chosen = logits[np.arange(len(text) - 1), np.array(text[1:])]
    return float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())
