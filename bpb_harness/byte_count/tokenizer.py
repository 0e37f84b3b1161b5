"""One interface to the tokenizers whose bytes can be counted.

The counting rules need three things of a tokenizer: what each piece is (`PieceKind`), what text it spells, and what
is done to a document before it is cut into pieces (`SpaceHabit`). `formats.py` says which files are read.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpb_harness.errors import TokenizerError

SPACE_SYMBOL = "\u2581"  # how SentencePiece writes a space inside its pieces
LARGEST_VOCABULARY = 2**21
FORMATS = (
    "a SentencePiece model, a byte-level tokenizer.json, vocab.json with merges.txt, a tiktoken file or a vocabulary "
    "of characters"
)


class PieceKind(IntEnum):
    """What a token is, which decides what it spells.

    TEXT covers normal and user-defined pieces: both stand in the text as they are written.
    """

    TEXT = 0
    BYTE = 1  # one byte of a character that the vocabulary lacks
    CONTROL = 2  # never part of a text: BOS, EOS, padding, special tokens
    UNKNOWN = 3  # stands for text that cannot be recovered from the id
    UNUSED = 4  # reserved; an encoder never emits it


@dataclass(frozen=True)
class SpaceHabit:
    """What the normaliser does about spaces.

    Attributes:
        escapes: a space is written as U+2581 inside pieces, so that U+2581 in a piece means one byte of text.
        dummy_prefix: a space that is not text is put before each document.
        dummy_suffix: the same behind each document (SentencePiece's treat_whitespace_as_suffix).
    """

    escapes: bool
    dummy_prefix: bool = False
    dummy_suffix: bool = False


class Tokenizer(ABC):
    """A vocabulary and the encoder that goes with it; immutable, pickled by its model's bytes.

    Attributes:
        name: for messages.
        kind: `sentencepiece`, `byte_level_bpe`, `rank_bpe` or `characters`; for one that cannot be counted, its model's
            type.
        model_bytes: the file.
        digest: sha256 of the file, hexadecimal.
        vocab_size: V.
        bos_id: the token before each document; None where the tokenizer has none. It is what the tokenizer's own file
            says or suggests: `set_off_by` takes what other files say of it.
        eos_id: the token behind each document, where the file itself names one.
        piece_kinds: (V,) uint8, values of `PieceKind`.
        pieces: V strings as the vocabulary writes them.
        piece_bytes: V byte strings, what each piece contributes to its document: escaped spaces still as E2 96 81,
            one byte for BYTE, nothing for CONTROL and UNKNOWN.
        spaces: what the normaliser does about spaces.
        uncountable: why the bytes of its pieces cannot be known; None where they can. Then `piece_bytes` are empty.
        loses: what of a text its pieces do not spell, as far as its file says so itself.
        unwritable: why it cannot encode a text; None where it can.
        num_unnamed: of the last ids, how many may or may not exist: a rank file does not say which are special tokens.
        notes: what a reader of a count should know of how the file was read.
    """

    kind: str
    name: str
    model_bytes: bytes
    digest: str
    vocab_size: int
    bos_id: int | None
    piece_kinds: NDArray[np.uint8]
    pieces: tuple[str, ...]
    piece_bytes: tuple[bytes, ...]
    spaces: SpaceHabit
    eos_id: int | None = None
    uncountable: str | None = None
    loses: str | None = None
    unwritable: str | None = None
    num_unnamed: int = 0
    notes: tuple[str, ...] = ()
    _set_off_by: tuple[int | None, *tuple[int, ...]] | None = None  # what `set_off_by` was told

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens of one document, without BOS; (N,) int64.

        Raises:
            TokenizerError: if the library gives up on it, or the tokenizer cannot encode at all.
        """

    @abstractmethod
    def normalize(self, text: str) -> str:
        """The text that the tokens of `text` are meant to spell: spaces as spaces, without a dummy prefix."""

    def decode(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes that tokens spell, by the exact rule; unknown tokens spell nothing, a control token starts a text.

        Unlike the libraries' own decoding it strips nothing and puts no U+FFFD: it may end inside a character.
        """
        controls = np.flatnonzero(self.piece_kinds[tokens] == PieceKind.CONTROL)
        return b"".join(map(self._decode_text, np.split(tokens, controls)))

    def _decode_text(self, tokens: NDArray[np.int64]) -> bytes:
        spelled = b"".join([self.piece_bytes[token] for token in tokens.tolist()])
        if self.spaces.escapes:
            spelled = spelled.replace(SPACE_SYMBOL.encode(), b" ")
        # A space beside an unknown token is one of the text: the dummy went into what is not known.
        kinds = self.piece_kinds[tokens]
        known = kinds[kinds != PieceKind.CONTROL] != PieceKind.UNKNOWN
        if self.spaces.dummy_prefix and known[:1].all():
            spelled = spelled.removeprefix(b" ")
        if self.spaces.dummy_suffix and known[-1:].all():
            spelled = spelled.removesuffix(b" ")
        return spelled

    def set_off_by(self, token: int | None, *others: int) -> Tokenizer:
        """The same tokenizer, whose documents `token` sets off: it spells nothing, whatever its own file says of it.

        Args:
            token: the new `bos_id`; None: nothing stands between documents.
            others: tokens that spell nothing either, such as the one behind documents.

        Raises:
            TokenizerError: an id outside the vocabulary.
        """
        named = others if token is None else (token, *others)
        for outside in (one for one in named if not 0 <= one < self.vocab_size):
            raise TokenizerError(
                f"{self.name}: the token between documents", seen=outside, expected=f"0..{self.vocab_size - 1}"
            )
        other: Tokenizer = object.__new__(type(self))
        vars(other).update(vars(self))
        other.bos_id, other._set_off_by = token, (token, *others)
        changed = [one for one in named if self.piece_kinds[one] != PieceKind.CONTROL]
        if changed:
            kinds, spelled = self.piece_kinds.copy(), list(self.piece_bytes)
            for one in changed:
                kinds[one], spelled[one] = PieceKind.CONTROL, b""
            kinds.setflags(write=False)
            other.piece_kinds, other.piece_bytes = kinds, tuple(spelled)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        from bpb_harness.byte_count.formats import load_again

        return load_again, (self.model_bytes, self.name, self._set_off_by)

    def _set(
        self, model_bytes: bytes, name: str, pieces: Sequence[str], kinds: Sequence[PieceKind], spelled: Sequence[bytes]
    ) -> None:
        """What every tokenizer is made of alike: its file, and its pieces."""
        self.name, self.model_bytes = name, model_bytes
        self.digest = hashlib.sha256(model_bytes).hexdigest()
        self.pieces, self.piece_bytes = tuple(pieces), tuple(spelled)
        self.piece_kinds = np.asarray(kinds, dtype=np.uint8)
        self.piece_kinds.setflags(write=False)
        self.vocab_size = len(pieces)


def not_a_tokenizer(name: str, seen: str | None = None, hint: str | None = None) -> TokenizerError:
    """What to say of a file of no format that is known."""
    return TokenizerError(f"{name}: not a tokenizer that can be counted", seen=seen, expected=FORMATS, hint=hint)
