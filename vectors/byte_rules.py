"""The bytes of tokens, both rules, one token after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SPACE = "\u2581".encode()
BOUNDARIES = ("control", "unknown", "unused")


@dataclass(frozen=True)
class Piece:
    """What a token is and what it spells.

    Attributes:
        kind: text, byte, control, unknown or unused.
        piece: as the vocabulary writes it.
        spells: the bytes that stand in it, spaces still as U+2581; of a byte piece the byte, none of control, unknown.
    """

    kind: str
    piece: str
    spells: bytes


@dataclass(frozen=True)
class Pieces:
    """A tokenizer as far as bytes are concerned.

    Attributes:
        escapes: U+2581 in a piece is a space of the text.
        prefix: a space that is no text stands before each document.
        suffix: the same behind each document.
    """

    name: str
    about: str
    pieces: tuple[Piece, ...]
    escapes: bool = True
    prefix: bool = False
    suffix: bool = False

    def id(self, piece: str) -> int:
        return [each.piece for each in self.pieces].index(piece)


def official(tokenizer: Pieces, tokens: Sequence[int]) -> list[int]:
    """The piece without one leading U+2581, plus 1 for it unless the token before is a boundary or there is none."""
    counted, after_text = [], False
    for token in tokens:
        piece = tokenizer.pieces[token]
        if piece.kind in BOUNDARIES:
            counted.append(0)
        elif piece.kind == "byte":
            counted.append(1)
        elif tokenizer.escapes and piece.spells.startswith(SPACE):
            counted.append(len(piece.spells) - len(SPACE) + after_text)
        else:
            counted.append(len(piece.spells))
        after_text = piece.kind not in BOUNDARIES
    return counted


def spelled(tokenizer: Pieces, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Of each byte of the text that tokens spell, whose it is and which it is: the exact rule by its meaning."""
    documents: list[list[tuple[int, int, bool]]] = [[]]  # owner, byte, whether a byte piece spelled it
    for place, token in enumerate(tokens):
        piece = tokenizer.pieces[token]
        if piece.kind == "control":
            documents.append([])
        elif piece.kind != "unknown":
            documents[-1] += [(place, byte, piece.kind == "byte") for byte in piece.spells]
        else:
            documents[-1].append((place, -1, False))
    text = []
    for document in documents:
        written = _spaces(document) if tokenizer.escapes else [(owner, byte) for owner, byte, _ in document]
        if tokenizer.prefix and written[:1] and written[0][1] == 0x20:
            del written[0]
        if tokenizer.suffix and written[-1:] and written[-1][1] == 0x20:
            del written[-1]
        text += [(owner, byte) for owner, byte in written if byte >= 0]
    return text


def _spaces(document: list[tuple[int, int, bool]]) -> list[tuple[int, int]]:
    """Each U+2581 becomes a space of the token that holds its last byte."""
    written, i = [], 0
    while i < len(document):
        three = document[i : i + 3]
        if bytes(byte for _, byte, _ in three if byte >= 0) == SPACE and len({single for *_, single in three}) == 1:
            written.append((three[-1][0], 0x20))
            i += 3
        else:
            written.append(document[i][:2])
            i += 1
    return written


def exact(tokenizer: Pieces, tokens: Sequence[int]) -> list[int]:
    """Bytes of each token."""
    owners = [owner for owner, _ in spelled(tokenizer, tokens)]
    return [owners.count(place) for place in range(len(tokens))]
