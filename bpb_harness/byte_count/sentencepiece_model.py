"""SentencePiece `.model` files.

The model's protobuf is not parsed: the pieces come from the library's stable calls, and the normaliser's habits are
seen from what it does to a few probe strings. So versions of the library whose offset calls or message classes differ
give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.tokenizer import (
    LARGEST_VOCABULARY,
    SPACE_SYMBOL,
    PieceKind,
    SpaceHabit,
    Tokenizer,
    not_a_tokenizer,
)
from bpb_harness.errors import TokenizerError


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece `.model`: BPE, unigram, characters or words, with or without byte fallback."""

    kind = "sentencepiece"

    def __init__(self, model_bytes: bytes, name: str) -> None:
        sentencepiece = _import_sentencepiece()
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
            size = int(processor.vocab_size())
        except (RuntimeError, OSError, ValueError) as error:
            seen = f"a file that starts with {model_bytes[:8]!r}"
            raise not_a_tokenizer(name, seen=seen, hint="save it as tokenizer.json") from error
        if not 0 < size <= LARGEST_VOCABULARY:  # no public one has more
            seen, expected = f"{size} pieces", f"1 to {LARGEST_VOCABULARY}"
            raise TokenizerError(f"{name}: not a usable vocabulary", seen=seen, expected=expected)
        self._processor = processor
        try:
            found = (_piece(processor, token) for token in range(size))
            pieces, kinds, spelled = zip(*found, strict=True)
            self.spaces = space_habit(processor.normalize)
        except ValueError as error:  # a piece, or a rule of the normaliser, that is not UTF-8
            raise TokenizerError(f"{name}: a damaged SentencePiece model: {error}") from error
        self._set(model_bytes, name, pieces, kinds, spelled)
        bos = int(processor.bos_id())
        self.bos_id = bos if bos >= 0 else None
        eos = int(processor.eos_id())
        self.eos_id = eos if eos >= 0 else None

    def encode(self, text: str) -> NDArray[np.int64]:
        # add_bos and the rest are off by default, but a caller's processor may have been told otherwise: say so.
        try:
            ids = self._processor.encode(text, out_type=int, add_bos=False, add_eos=False, reverse=False)
        except (RuntimeError, OSError, ValueError) as error:
            raise TokenizerError(f"{self.name}: the text cannot be encoded: {error}") from error
        return np.asarray(ids, dtype=np.int64)

    def normalize(self, text: str) -> str:
        normal = str(self._processor.normalize(text))
        if self.spaces.escapes:
            normal = normal.replace(SPACE_SYMBOL, " ")
        if self.spaces.dummy_prefix:
            normal = normal.removeprefix(" ")
        if self.spaces.dummy_suffix:
            normal = normal.removesuffix(" ")
        return normal


def _import_sentencepiece() -> Any:
    # Version 0.2.1 warns while it sets up its own types, and crashes later where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import sentencepiece
    return sentencepiece


def _piece(processor: Any, token: int) -> tuple[str, PieceKind, bytes]:
    """How the model writes a token, what it is, and what it spells."""
    piece = str(processor.id_to_piece(token))
    if processor.is_unknown(token):
        return piece, PieceKind.UNKNOWN, b""
    if processor.is_control(token):
        return piece, PieceKind.CONTROL, b""
    if processor.is_byte(token):
        return piece, PieceKind.BYTE, bytes([int(piece[3:5], 16)])  # <0x0A>
    kind = PieceKind.UNUSED if processor.is_unused(token) else PieceKind.TEXT
    return piece, kind, piece.encode("utf-8", errors="surrogatepass")


def space_habit(normalize: Callable[[str], str]) -> SpaceHabit:
    """What a normaliser does about spaces, seen from a few probes."""
    # Letters that a normaliser might drop or a user-defined symbol might claim: the first that survives decides.
    for letter in ("a", "m", "0", "\u4e00", "\u0436"):
        once, twice = normalize(letter), normalize(f"{letter} {letter}")
        if once.strip(SPACE_SYMBOL + " ") != letter or twice.count(letter) != 2:
            continue
        escapes = SPACE_SYMBOL in twice
        space = SPACE_SYMBOL if escapes else " "
        return SpaceHabit(escapes, dummy_prefix=once.startswith(space), dummy_suffix=once.endswith(space))
    return SpaceHabit(escapes=True)
