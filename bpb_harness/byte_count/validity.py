"""Whether bits per byte mean anything: do tokenizer, tokens and text belong together?

Three ways in which they may not:

lost       The official rule counts the bytes of the normalised text. That is fair as long as a normaliser does what it
           is there for: another form of the same characters (NFC, NFKC), white space and control characters joined or
           dropped. Where it changes letters (their case, their accents) or drops them, the text is another one, and
           shorter to write: a code that loses text has no length per byte of it.
padded     A token between documents is paid for once a document. Where a shard was filled up to a length with it, the
           same token stands many times in a row: each is paid for, none has a byte.
foreign    An encoder has one way of writing a text. So what the tokens spell, encoded again, must give the same
           tokens; with another vocabulary the same ids spell other text, which its encoder never writes like that.
           This is asked of the tokens alone, without the text.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import TokenSource
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer
from bpb_harness.errors import TokenizerError

_CHUNK_TOKENS = 1 << 18
# Empty documents may follow each other; nobody's text has this many tokens between documents in a row.
LONGEST_RUN = 16
# White space, control and format characters, U+FFFD, and SentencePiece's sign for a space.
_NO_LETTERS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2581\ufeff\ufffd]+")
# Characters that a normaliser must leave alone, with case and accents among them.
_LETTERS = (string.ascii_letters, string.digits, string.punctuation, "na\u00efve", "\u0416\u0438\u0437\u043d\u044c")
# White space that a normaliser may join, make spaces of, or drop, but must not make longer.
_GAPS = ("et", "e t", "e  t", "e\tt", "e\nt", " et ")
# Of these the first two that a vocabulary has are written.
_CANDIDATES = "etaoinshrdlucmfwypvbgkqjxz\u0435\u043e\u0430\u4e00ACGT01"


def essence(text: str) -> str:
    """What a normaliser must not change: the characters, in one form, without white space and control characters."""
    return unicodedata.normalize("NFKC", _NO_LETTERS.sub("", unicodedata.normalize("NFKC", text)))


def keeps_letters(normal: str, raw: str) -> bool:
    """Whether a normalised text has the characters of the raw one."""
    return normal == raw or essence(normal) == essence(raw)


def added_gaps(normal: str, raw: str) -> str | None:
    """Bytes of white space and control characters that a normaliser puts in, in words: text that there was not."""
    had = max(_bytes_of_gaps(raw), _bytes_of_gaps(unicodedata.normalize("NFKC", raw)))  # which may write a space
    has = _bytes_of_gaps(normal)
    if has <= had:
        return None
    return f"{has:,} bytes of white space and control characters of {had:,}"


def _bytes_of_gaps(text: str) -> int:
    return sum(len(gap.encode("utf-8", errors="surrogatepass")) for gap in _NO_LETTERS.findall(text))


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
    for text in _GAPS:
        if added := added_gaps(tokenizer.normalize(text), text):
            return f"its normaliser makes {added} in {text!r}"
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
    if added := added_gaps(normal, text):
        return f"the normaliser makes {added}"
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


@dataclass(frozen=True)
class SilentRuns:
    """Tokens without bytes that follow a token of the same id.

    Attributes:
        repeated: how many there are.
        longest: tokens in the longest run, its first included; 0 where there is no run.
        token: of that run.
        start: where that run begins.
    """

    repeated: int = 0
    longest: int = 0
    token: int = 0
    start: int = 0

    @property
    def is_padding(self) -> bool:
        """Whether the longest run is longer than empty documents explain."""
        return self.longest > LONGEST_RUN


def silent_runs(source: TokenSource, is_silent: NDArray[np.bool_], stop: int) -> SilentRuns:
    """Runs of two and more equal tokens that spell nothing, among the first `stop`.

    Args:
        source: the tokens.
        is_silent: (V,) whether a token spells nothing wherever it stands.
        stop: how many tokens to look at.
    """
    repeated, longest = 0, SilentRuns()
    last, token, start = -2, -1, 0  # of the run that may go on in the next chunk
    for begin in range(0, stop, _CHUNK_TOKENS):
        chunk = source.read(begin, min(begin + _CHUNK_TOKENS, stop))
        at = np.flatnonzero(is_silent[chunk])  # few: the rest of the text is not looked at any more
        if not len(at):
            continue
        ids, at = chunk[at], at + begin
        follows = (np.diff(at, prepend=last) == 1) & (np.diff(ids, prepend=token) == 0)
        first = np.flatnonzero(np.append(True, ~follows[1:]))  # of each run, as far as this chunk has it
        starts, ends = at[first], at[np.append(first[1:], len(at)) - 1]
        if follows[0]:
            starts[0] = start
        lengths = ends - starts + 1
        best = int(np.argmax(lengths))
        if lengths[best] > max(longest.longest, 1):
            longest = SilentRuns(0, int(lengths[best]), int(ids[first[best]]), int(starts[best]))
        repeated += int(np.count_nonzero(follows))
        last, token, start = int(at[-1]), int(ids[-1]), int(starts[-1])
    return replace(longest, repeated=repeated)


_EXCERPT_TOKENS = 1024
_CUT_TOKENS = 16  # at a cut the encoder may join what the document went on with
# Measured: 1.0 where the tokenizer belongs, 0.0 where it does not; but 0.75 with a vocabulary of whole words that are
# never merged, which writes any row of its own words the same way again.
_MIN_SHARE = 0.95
_MIN_EXCERPTS = 8  # to refuse on: one document cut in the middle proves nothing


@dataclass(frozen=True)
class Belonging:
    """What encoding again has shown.

    Attributes:
        num_excerpts: documents (their first tokens) that could be tried: at least 4 tokens and none unknown.
        num_identical: those whose tokens came back.
    """

    num_excerpts: int
    num_identical: int

    @property
    def belongs(self) -> bool | None:
        """None where nothing could be tried."""
        return None if not self.num_excerpts else self.num_identical >= _MIN_SHARE * self.num_excerpts

    def __str__(self) -> str:
        return f"{self.num_identical} of {self.num_excerpts} excerpts come back the same when encoded again"

    def require_hope(self, *, hint: str) -> None:
        """Refuse a tokenizer that writes most of the text with other tokens.

        Args:
            hint: what to do about it.

        Raises:
            TokenizerError: if more than half of 8 or more excerpts do not come back.
        """
        if self.num_excerpts >= _MIN_EXCERPTS and 2 * self.num_identical < self.num_excerpts:
            raise TokenizerError(
                "the tokenizer does not belong to these shards: what their tokens spell is written with other tokens",
                seen=self,
                expected="all, or nearly all",
                hint=hint,
            )


def encode_again(
    source: TokenSource, starts: NDArray[np.int64], tokenizer: Tokenizer, *, num_excerpts: int = 256
) -> Belonging:
    """Decode and encode excerpts that lie evenly over the documents.

    Args:
        source: the tokens, all of them below the tokenizer's vocabulary.
        starts: (documents,) where each document starts, its BOS included.
        tokenizer: the one in question.
        num_excerpts: how many documents to try.
    """
    tried = identical = 0
    if tokenizer.unwritable is not None or tokenizer.uncountable is not None:
        return Belonging(0, 0)
    chosen = np.unique(np.linspace(0, len(starts) - 1, num_excerpts).astype(np.int64))
    for index in chosen.tolist():
        start = int(starts[index])
        end = int(starts[index + 1]) if index + 1 < len(starts) else source.num_tokens
        tokens = source.read(start, min(end, start + _EXCERPT_TOKENS))
        tokens = tokens[tokenizer.piece_kinds[tokens] != PieceKind.CONTROL]
        if len(tokens) < 4 or (tokenizer.piece_kinds[tokens] == PieceKind.UNKNOWN).any():
            continue
        tried += 1
        identical += _comes_back(tokens, tokenizer, whole=end - start <= _EXCERPT_TOKENS)
    return Belonging(tried, identical)


def _comes_back(tokens: NDArray[np.int64], tokenizer: Tokenizer, *, whole: bool) -> bool:
    try:
        text = tokenizer.decode(tokens).decode("utf-8", errors="strict" if whole else "ignore")
    except UnicodeDecodeError:
        return False
    again = tokenizer.encode(text)
    if not whole:
        tokens = tokens[:-_CUT_TOKENS]
        again = again[: len(tokens)]
    return bool(np.array_equal(tokens, again))
