"""Tokenizers that the tokenizers library encodes with: its own `tokenizer.json`, and what is built from other files."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.guarded import guarded
from bpb_harness.byte_count.tokenizer import (
    LARGEST_VOCABULARY,
    PieceKind,
    SpaceHabit,
    Tokenizer,
)
from bpb_harness.errors import TokenizerError

BOS_NAMES = ("<|begin_of_text|>", "<|endoftext|>", "<s>", "<bos>", "[BOS]", "[CLS]", "<|bos|>")
UNKNOWN_NAMES = ("<unk>", "[UNK]", "<|unk|>", "<UNK>")
# Marks that stand between texts; what the library calls special needs no name.
_MARKS = frozenset(
    {*BOS_NAMES, "<|startoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "[SEP]"}
    | {"<pad>", "[PAD]", "<|pad|>", "[MASK]", "<mask>", "<|mask|>"}
)


class LibraryTokenizer(Tokenizer):
    """A tokenizer of the library.

    Args:
        model_bytes: the file.
        name: for messages.
        tokenizer: the library's object; its own from now on.
        kind: `byte_level_bpe`, `characters`, or another model's type with `uncountable`.
        add_prefix_space: a space that is no text is put before each document.
        merged: pieces that merges make, which are text whatever they are called.
        unknown: the piece that the model writes for what it lacks, where its file names one.
        normalizes_to_letters: the normaliser writes bytes as their letters, and `normalize` must undo it.
        uncountable: why its pieces do not say what they spell.
    """

    def __init__(
        self,
        model_bytes: bytes,
        name: str,
        tokenizer: Any,
        kind: str,
        *,
        add_prefix_space: bool = False,
        merged: Collection[str] = frozenset(),
        unknown: str | None = None,
        normalizes_to_letters: bool = False,
        uncountable: str | None = None,
    ) -> None:
        self.kind, self.uncountable = kind, uncountable
        self._letters = byte_alphabet() if normalizes_to_letters else None
        self._tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A special token's name in a document is text like any other.
        tokenizer.encode_special_tokens = True
        self._set(model_bytes, name, *_pieces(tokenizer, kind, name, merged, unknown))
        found = (tokenizer.token_to_id(mark) for mark in BOS_NAMES if mark not in merged)
        self.bos_id = next((token for token in found if token is not None), None)
        self.spaces = SpaceHabit(escapes=False, dummy_prefix=add_prefix_space)
        if self.bos_id is not None:
            vars(self).update(vars(self.set_off_by(self.bos_id)))
            self._set_off_by = None  # nobody said so but the file itself

    def encode(self, text: str) -> NDArray[np.int64]:
        ids = guarded(
            f"{self.name}: the text cannot be encoded",
            lambda: self._tokenizer.encode(text, add_special_tokens=False).ids,
        )
        return np.asarray(ids, dtype=np.int64)

    def normalize(self, text: str) -> str:
        normalizer = self._tokenizer.normalizer
        if normalizer is None:
            return text
        normal = str(guarded(f"{self.name}: the text cannot be normalised", lambda: normalizer.normalize_str(text)))
        if self._letters is None:
            return normal
        return bytes(self._letters[letter] for letter in normal if letter in self._letters).decode(errors="replace")

    def set_off_by(self, token: int | None, *others: int) -> Tokenizer:
        other = super().set_off_by(token, *others)
        assert isinstance(other, LibraryTokenizer)
        added = self._tokenizer.get_added_tokens_decoder()
        named = others if token is None else (token, *others)
        plain = {added[one].content for one in named if one in added and not added[one].special}
        if plain:
            # The library finds added tokens in a text by their name, unless they are special: only then can the name
            # of what stands between documents stand in one, as the text that it is.
            other._tokenizer = _with_special(self._tokenizer, plain)
        return other


def _with_special(tokenizer: Any, contents: Collection[str]) -> Any:
    import tokenizers

    document = json.loads(tokenizer.to_str())
    for entry in document["added_tokens"]:
        if entry["content"] in contents:
            entry["special"] = True
    copy = tokenizers.Tokenizer.from_str(json.dumps(document))
    copy.encode_special_tokens = True
    return copy


def _pieces(
    tokenizer: Any, kind: str, name: str, merged: Collection[str], unknown: str | None
) -> tuple[list[str], list[PieceKind], list[bytes]]:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = {int(i): token for i, token in tokenizer.get_added_tokens_decoder().items()}
    size = max(vocabulary.values(), default=-1) + 1
    if not 0 < size <= LARGEST_VOCABULARY:
        raise TokenizerError(
            f"{name}: not a usable vocabulary", seen=f"largest id {size - 1}", expected=f"0 to {LARGEST_VOCABULARY - 1}"
        )
    pieces, kinds, spelled = [""] * size, [PieceKind.UNUSED] * size, [b""] * size
    alphabet = byte_alphabet()
    # A mark that is named as unknown too (GPT-2's) never is, as its bytes are complete; nor is a letter of a text.
    names = {*UNKNOWN_NAMES, *([unknown] if unknown and (len(unknown) > 1 or unknown == "\ufffd") else [])}
    names -= {*_MARKS, *merged}
    for piece, token in vocabulary.items():
        pieces[token] = piece
        if token in added:
            kinds[token], spelled[token] = _added(added[token])
        elif piece in _MARKS and piece not in merged:
            kinds[token] = PieceKind.CONTROL
        elif kind == "byte_level_bpe" and all(character in alphabet for character in piece):
            kinds[token], spelled[token] = PieceKind.TEXT, bytes(alphabet[character] for character in piece)
        elif kind == "characters" and len(piece) == 1:
            kinds[token], spelled[token] = PieceKind.TEXT, piece.encode()
        elif kind in ("byte_level_bpe", "characters"):
            kinds[token] = PieceKind.CONTROL
        else:
            kinds[token] = PieceKind.TEXT
        if piece in names:
            kinds[token], spelled[token] = PieceKind.UNKNOWN, b""
    if kind not in ("byte_level_bpe", "characters"):
        spelled = [b""] * size
    return pieces, kinds, spelled


def _added(token: Any) -> tuple[PieceKind, bytes]:
    if token.special:
        return PieceKind.CONTROL, b""
    if token.lstrip or token.rstrip:  # it stands for the white space beside it too, however much that was
        return PieceKind.UNKNOWN, b""
    return PieceKind.TEXT, token.content.encode()


def byte_alphabet() -> dict[str, int]:
    """The printable stand-ins of the 256 bytes in a byte-level vocabulary, as GPT-2 chose them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
