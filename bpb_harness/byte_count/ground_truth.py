"""Bytes against the text itself: what the pieces spell, what the normaliser made of the text, what the text was.

Three comparisons a document, each of which can fail for its own reasons (`Reason`):

    official rule  against  exact rule        a rule that was fooled
    exact rule     against  normalised text   a tokenizer that loses text
    normalised     against  raw text          a normaliser that changes text
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import ByteCounter, TokenSource
from bpb_harness.byte_count.tokenizer import SPACE_SYMBOL, PieceKind, Tokenizer
from bpb_harness.byte_count.validity import added_gaps, essence

_EXCERPT = 24  # characters of text in a report


class Reason(StrEnum):
    """Why two counts or two texts part; the values are the words of the report."""

    SPACE_AS_BYTES = "a space is spelled as the byte pieces E2 96 81, which the official rule counts as 3"
    INNER_SPACES = "a piece holds more than its leading U+2581; the official rule counts each of the others as 3"
    AFTER_BOUNDARY = "a space after an unknown or unused token, which the official rule leaves out"
    LEADING_SPACE = "a space that starts a document, which the official rule leaves out"
    DUMMY_PREFIX = "the dummy prefix, a space that is no text, is counted by the official rule"
    UNUSED_PIECE = "an unused piece, whose text the official rule leaves out"
    UNKNOWN_TOKEN = "an unknown token stands for text that cannot be recovered"  # noqa: S105 - no secret
    LITERAL_SYMBOL = "the text holds a literal U+2581, which pieces cannot tell from a space"
    JOINED_SPACE = "a space that starts the text is joined with the dummy prefix, and is no text any more"
    NOT_LOSSLESS = "the pieces do not spell the normalised text"
    WRONG_TOKENIZER = "the tokens spell another text: the tokenizer does not belong to these shards"
    OTHER_TEXT = "the tokens are of another text than this document"
    OTHER_TOKENS = "the tokens spell this text, but the tokenizer writes it with other tokens"
    DROPPED_NEWLINE = "the normaliser dropped a newline or made a space of it"
    COLLAPSED_SPACES = "the normaliser dropped or joined spaces"
    FOLDED_CHARACTER = "the normaliser folded or dropped a character"
    LOST_LETTERS = "the normaliser changed letters or dropped them: the text cannot be given back"
    ADDED_SPACE = "the normaliser put in white space or control characters that the text had not"


@dataclass(frozen=True)
class Disagreement:
    """The first place where a document's counts or texts part.

    Attributes:
        document: from 0.
        position: bytes before it, in the text that was expected.
        reason: why.
        expected: a few characters of what was expected from there on.
        seen: the same of what was met.
    """

    document: int
    position: int
    reason: Reason
    expected: str
    seen: str


@dataclass
class Comparison:
    """One of the three comparisons, over all documents.

    Attributes:
        num_documents: documents that disagree.
        reasons: documents by the reason of their first disagreement.
        firsts: the first document of each reason.
    """

    num_documents: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    firsts: dict[Reason, Disagreement] = field(default_factory=dict)

    @property
    def first(self) -> Disagreement | None:
        """The first document that disagrees."""
        return next(iter(self.firsts.values()), None)

    def add(self, disagreement: Disagreement | None) -> None:
        if disagreement is not None:
            self.num_documents += 1
            self.firsts.setdefault(disagreement.reason, disagreement)
            self.reasons[disagreement.reason] += 1


@dataclass
class GroundTruth:
    """What the documents say about the bytes of their tokens.

    Attributes:
        num_documents: compared.
        num_tokens: of those documents.
        num_bytes_official, num_bytes_exact: of the tokens, by the two rules.
        num_bytes_normalized: UTF-8 bytes of the normalised documents.
        num_bytes_raw: UTF-8 bytes of the documents.
        official: official rule against exact rule.
        pieces: what the pieces spell against the normalised text.
        normaliser: normalised text against raw text.
        letters: the same without white space, control characters and compatibility forms; positions are in what is
            left.
        tokens: the shards' tokens against those that the tokenizer makes of the text; positions are in tokens. Empty
            unless the tokens came from shards.
    """

    num_documents: int = 0
    num_tokens: int = 0
    num_bytes_official: int = 0
    num_bytes_exact: int = 0
    num_bytes_normalized: int = 0
    num_bytes_raw: int = 0
    official: Comparison = field(default_factory=Comparison)
    pieces: Comparison = field(default_factory=Comparison)
    normaliser: Comparison = field(default_factory=Comparison)
    letters: Comparison = field(default_factory=Comparison)
    tokens: Comparison = field(default_factory=Comparison)

    @property
    def lossless(self) -> bool:
        """The pieces spell every normalised document, byte for byte, and none was normalised into another text."""
        return self.pieces.num_documents == 0 and self.letters.num_documents == 0


def compare_with_text(
    tokenizer: Tokenizer,
    source: TokenSource,
    starts: NDArray[np.int64],
    documents: Iterable[str],
    *,
    belongs: bool | None = None,
    from_shards: bool = False,
) -> GroundTruth:
    """Compare tokens with the documents that they were made from.

    Args:
        tokenizer: the one that the tokens are said to come from.
        source: the tokens.
        starts: (documents,) position of each document's first token, its BOS included.
        documents: the texts, in the same order. Where there are fewer or more of them than `starts`, those that both
            have are compared: the caller says whether that matters.
        belongs: what `encode_again` said; False explains every disagreement.
        from_shards: the tokens were not made from `documents` here; so each document is encoded, to see whether its
            tokens are the same.

    Returns:
        The sums over documents and the first disagreements.
    """
    counter, truth = ByteCounter(tokenizer), GroundTruth()
    stops = np.append(starts[1:], source.num_tokens)
    for index, (text, start, stop) in enumerate(zip(documents, starts.tolist(), stops.tolist(), strict=False)):
        tokens = source.read(start, stop)
        compare_document(tokenizer, counter, truth, index, text, tokens, belongs)
        if from_shards:
            truth.tokens.add(token_disagreement(tokenizer, index, text, tokens))
    return truth


def compare_document(
    tokenizer: Tokenizer,
    counter: ByteCounter,
    truth: GroundTruth,
    index: int,
    text: str,
    tokens: NDArray[np.int64],
    belongs: bool | None,
) -> None:
    """Add one document to the sums, whose tokens are known."""
    official, exact = counter.per_token(tokens), counter.per_token(tokens, rule="exact")
    spelled = tokenizer.decode(tokens)
    assert len(spelled) == int(exact.sum())
    normal, raw = tokenizer.normalize(text).encode(), text.encode()
    truth.num_documents += 1
    truth.num_tokens += len(tokens)
    truth.num_bytes_official += int(official.sum())
    truth.num_bytes_exact += len(spelled)
    truth.num_bytes_normalized += len(normal)
    truth.num_bytes_raw += len(raw)
    truth.official.add(_rule_disagreement(tokenizer, index, tokens, official, exact))
    truth.pieces.add(_pieces_disagreement(tokenizer, index, text, tokens, spelled, normal, belongs))
    truth.normaliser.add(_normaliser_disagreement(index, normal, raw))
    truth.letters.add(_letter_disagreement(index, normal, raw))


def why_rules_differ(tokenizer: Tokenizer, token: int, before: int | None, surplus: int) -> Reason:
    """Why the official rule gives a token other bytes than the exact rule does.

    Args:
        tokenizer: of the token.
        token: the first token whose bytes differ.
        before: the token before it; None at the start of the text.
        surplus: official minus exact bytes of `token`, not 0.
    """
    kind = tokenizer.piece_kinds[token]
    kind_before = PieceKind.CONTROL if before is None else tokenizer.piece_kinds[before]
    if kind == PieceKind.BYTE:
        return Reason.SPACE_AS_BYTES
    if kind == PieceKind.UNUSED:
        return Reason.UNUSED_PIECE
    if SPACE_SYMBOL.encode() in tokenizer.piece_bytes[token].removeprefix(SPACE_SYMBOL.encode()):
        return Reason.INNER_SPACES
    if surplus > 0:
        return Reason.DUMMY_PREFIX
    return Reason.AFTER_BOUNDARY if kind_before in (PieceKind.UNKNOWN, PieceKind.UNUSED) else Reason.LEADING_SPACE


def _rule_disagreement(
    tokenizer: Tokenizer,
    index: int,
    tokens: NDArray[np.int64],
    official: NDArray[np.int64],
    exact: NDArray[np.int64],
) -> Disagreement | None:
    differing = np.flatnonzero(official != exact)
    if not len(differing):
        return None
    at = int(differing[0])
    before = int(tokens[at - 1]) if at else None
    reason = why_rules_differ(tokenizer, int(tokens[at]), before, int(official[at] - exact[at]))
    shown = [tokenizer.pieces[token] for token in tokens[max(0, at - 1) : at + 3].tolist()]
    return Disagreement(
        index, int(exact[:at].sum()), reason, f"{exact[at]} bytes", f"{official[at]} for {' '.join(shown)!r}"
    )


def _pieces_disagreement(
    tokenizer: Tokenizer,
    index: int,
    text: str,
    tokens: NDArray[np.int64],
    spelled: bytes,
    normal: bytes,
    belongs: bool | None,
) -> Disagreement | None:
    if tokenizer.spaces.escapes and SPACE_SYMBOL in text:
        # Normalised text and pieces agree about it, both wrongly: only the raw text knows.
        position = text.encode().index(SPACE_SYMBOL.encode())
        return Disagreement(index, position, Reason.LITERAL_SYMBOL, SPACE_SYMBOL, " ")
    if spelled == normal:
        return None
    position = _common_prefix(spelled, normal)
    if belongs is not False and tokenizer.spaces.dummy_prefix and b" " + spelled == normal:
        reason = Reason.JOINED_SPACE
    elif belongs is False:
        reason = Reason.WRONG_TOKENIZER
    elif not np.array_equal(_without_controls(tokenizer, tokens), tokenizer.encode(text)):
        reason = Reason.OTHER_TEXT
    elif (tokenizer.piece_kinds[tokens] == PieceKind.UNKNOWN).any():
        reason = Reason.UNKNOWN_TOKEN
    else:
        reason = Reason.NOT_LOSSLESS
    return Disagreement(index, position, reason, _excerpt(normal, position), _excerpt(spelled, position))


def token_disagreement(tokenizer: Tokenizer, index: int, text: str, tokens: NDArray[np.int64]) -> Disagreement | None:
    """Where a document's tokens part from those that the tokenizer makes of its text."""
    met, expected = _without_controls(tokenizer, tokens), tokenizer.encode(text)
    if np.array_equal(met, expected):
        return None
    size = min(len(met), len(expected))
    differing = np.flatnonzero(met[:size] != expected[:size])
    at = int(differing[0]) if len(differing) else size
    same_text = tokenizer.decode(met) == tokenizer.decode(expected)
    shown = [" ".join(tokenizer.pieces[token] for token in stream[at : at + 4].tolist()) for stream in (expected, met)]
    return Disagreement(index, at, Reason.OTHER_TOKENS if same_text else Reason.OTHER_TEXT, *shown)


def _without_controls(tokenizer: Tokenizer, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    is_control = tokenizer.piece_kinds[tokens] == PieceKind.CONTROL
    return np.delete(tokens, np.flatnonzero(is_control))


def _normaliser_disagreement(index: int, normal: bytes, raw: bytes) -> Disagreement | None:
    if normal == raw:
        return None
    position = _common_prefix(normal, raw)
    lost, kept = _excerpt(raw, position), _excerpt(normal, position)
    if lost.startswith(SPACE_SYMBOL):
        reason = Reason.LITERAL_SYMBOL
    elif lost[:1] in ("\n", "\r"):
        reason = Reason.DROPPED_NEWLINE
    elif lost[:1] in (" ", "\t"):
        reason = Reason.COLLAPSED_SPACES
    else:
        reason = Reason.FOLDED_CHARACTER
    return Disagreement(index, position, reason, lost, kept)


def _letter_disagreement(index: int, normal: bytes, raw: bytes) -> Disagreement | None:
    if normal == raw:
        return None
    kept, had = essence(normal.decode()).encode(), essence(raw.decode()).encode()
    if kept == had:
        if added_gaps(normal.decode(), raw.decode()) is None:
            return None
        position = _common_prefix(normal, raw)
        return Disagreement(index, position, Reason.ADDED_SPACE, _excerpt(raw, position), _excerpt(normal, position))
    position = _common_prefix(kept, had)
    return Disagreement(index, position, Reason.LOST_LETTERS, _excerpt(had, position), _excerpt(kept, position))


def _common_prefix(one: bytes, other: bytes) -> int:
    """Length of the common prefix, up to the start of the character in which they part."""
    size = min(len(one), len(other))
    differing = np.flatnonzero(np.frombuffer(one[:size], np.uint8) != np.frombuffer(other[:size], np.uint8))
    position = int(differing[0]) if len(differing) else size
    while position and any(position < len(text) and text[position] & 0xC0 == 0x80 for text in (one, other)):
        position -= 1
    return position


def _excerpt(text: bytes, position: int) -> str:
    return text[position : position + 4 * _EXCERPT].decode("utf-8", errors="replace")[:_EXCERPT]
