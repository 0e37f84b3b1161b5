"""What of a text its tokens do not give back; a code that loses text has no length per byte of it.

The official rule counts the bytes of the normalised text. That is fair as long as a normaliser does what it is there
for: another form of the same characters (NFC, NFKC), white space and control characters joined or dropped. Where it
changes letters (their case, their accents) or drops them, the text is another one, and shorter to write.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import TokenSource
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer
from bpb_harness.errors import TokenizerError

_CHUNK_TOKENS = 1 << 18
# White space, control and format characters, U+FFFD, and SentencePiece's sign for a space.
_NO_LETTERS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2581\ufeff\ufffd]+")
# Characters that a normaliser must leave alone, with case and accents among them.
_LETTERS = (string.ascii_letters, string.digits, string.punctuation, "na\u00efve", "\u0416\u0438\u0437\u043d\u044c")
# Of these the first two that a vocabulary has are written.
_CANDIDATES = "etaoinshrdlucmfwypvbgkqjxz\u0435\u043e\u0430\u4e00ACGT01"


def essence(text: str) -> str:
    """What a normaliser must not change: the characters, in one form, without white space and control characters."""
    return unicodedata.normalize("NFKC", _NO_LETTERS.sub("", unicodedata.normalize("NFKC", text)))


def keeps_letters(normal: str, raw: str) -> bool:
    """Whether a normalised text has the characters of the raw one."""
    return normal == raw or essence(normal) == essence(raw)


def lost_by_tokenizer(tokenizer: Tokenizer) -> str | None:
    """What a tokenizer loses of any text, in words; None where its file and a few probes show nothing.

    It is what can be said where the documents are not at hand.
    """
    if tokenizer.uncountable is not None:
        return f"its pieces do not say what they spell ({tokenizer.uncountable})"
    if tokenizer.loses is not None:
        return tokenizer.loses
    try:
        return _changed_letters(tokenizer) or _not_spelled(tokenizer)
    except TokenizerError:  # a probe that cannot be written shows nothing
        return None


def _changed_letters(tokenizer: Tokenizer) -> str | None:
    for word in _LETTERS:
        normal = tokenizer.normalize(word)
        if not keeps_letters(normal, word):
            _, met, expected = _parting(essence(normal), essence(word))
            return f"its normaliser makes {met!r} of {expected!r}"
    return None


def _not_spelled(tokenizer: Tokenizer) -> str | None:
    """Whether the pieces of two letters and a space between them spell these."""
    if tokenizer.unwritable is not None:
        return None
    letters = [letter for letter in _CANDIDATES if _is_written(tokenizer, letter)][:2]
    if len(letters) < 2:
        return None
    has_space = tokenizer.spaces.escapes or any(b" " in piece for piece in tokenizer.piece_bytes)
    text = (" " if has_space else "").join(letters)
    spelled, normal = tokenizer.decode(tokenizer.encode(text)), tokenizer.normalize(text).encode()
    return None if spelled == normal else f"of {text!r} its pieces spell {spelled.decode(errors='replace')!r}"


def _is_written(tokenizer: Tokenizer, letter: str) -> bool:
    try:
        tokens = tokenizer.encode(letter)
    except TokenizerError:
        return False
    known = bool((tokenizer.piece_kinds[tokens] != PieceKind.UNKNOWN).all())
    return known and len(tokenizer.decode(tokens)) > 0


def lost_in_tokens(tokenizer: Tokenizer, source: TokenSource, stop: int) -> str | None:
    """How many of the first `stop` tokens stand for text that cannot be recovered, in words; None where none does."""
    is_unknown = tokenizer.piece_kinds == PieceKind.UNKNOWN
    unknown = 0
    for start in range(0, stop, _CHUNK_TOKENS):
        unknown += int(np.count_nonzero(is_unknown[source.read(start, min(start + _CHUNK_TOKENS, stop))]))
    return f"{unknown:,} of {stop:,} tokens are unknown: the text that they stand for is lost" if unknown else None


def lost_in_documents(
    tokenizer: Tokenizer, source: TokenSource, starts: NDArray[np.int64], documents: Iterable[str], stop: int
) -> str | None:
    """What of some documents is lost, in words; None where nothing is.

    Args:
        tokenizer: it encoded the documents.
        source: their tokens.
        starts: (documents,) position of each document's first token.
        documents: the texts, in the same order.
        stop: documents that start at this token or later are not looked at.
    """
    if tokenizer.uncountable is not None:
        return lost_by_tokenizer(tokenizer)
    unknown = lost_in_tokens(tokenizer, source, stop)
    if unknown is not None:
        return unknown
    first, lossy, looked_at = "", 0, 0
    stops = np.append(starts[1:], source.num_tokens)
    for text, begin, end in zip(documents, starts.tolist(), stops.tolist(), strict=False):
        if begin >= stop:
            break
        looked_at += 1
        why = _lost_in_document(tokenizer, text, source.read(begin, end))
        if why is not None:
            first = first or f"first in document {looked_at - 1} (from 0): {why}"
            lossy += 1
    return f"{lossy:,} of {looked_at:,} documents are not given back; {first}" if lossy else None


def _lost_in_document(tokenizer: Tokenizer, text: str, tokens: NDArray[np.int64]) -> str | None:
    normal, spelled = tokenizer.normalize(text), tokenizer.decode(tokens)
    if not keeps_letters(normal, text):
        at, met, expected = _parting(essence(normal), essence(text))
        return f"the normaliser makes {met!r} of {expected!r} (letter {at:,})"
    wanted = normal.encode()
    if spelled == wanted or (tokenizer.spaces.dummy_prefix and b" " + spelled == wanted):
        return None  # a space that starts a text is joined with the one that add_prefix_space puts there
    at, met, expected = _parting(spelled.decode(errors="replace"), normal)
    return f"the pieces spell {met!r} where the text has {expected!r} (character {at:,})"


def _parting(one: str, other: str) -> tuple[int, str, str]:
    """Where two texts part, and a few characters of each from there on."""
    size = min(len(one), len(other))
    at = next((index for index in range(size) if one[index] != other[index]), size)
    return at, one[at : at + 12], other[at : at + 12]
