"""Tokens and bytes that a log prints of one evaluation, beside a score that was made of them.

``[mix] tokens=45508608 bytes=152570124 mix=0.95214``, or on two lines that begin alike: ``mix bytes=27048621
mix_bpb=0.9033`` and ``mix_time:110.1s subset=8000000 tokens``. A number of another name on that line (the network's
own, a part's of the mixture) may have been divided by another count, and is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from bpb_harness.claim.printed import NUMBER, Printed, Source, parse_number

_COUNT = r"[0-9]{1,15}(?:,[0-9]{3}){0,4}(?![\w.])"
_TOKENS = re.compile(
    rf"(?<![\w.-])(?:(?:n|num|val|eval|scored|total)_)?tokens\s?[:=]\s?(?P<named>{_COUNT})"
    rf"|(?<![\w.-])(?:subset|scored)\s?[:=]\s?(?P<counted>{_COUNT}) tokens\b",
    re.IGNORECASE,
)
_BYTES = re.compile(
    rf"(?<![\w.-])(?:(?:n|num|val|eval|scored|total)_)?bytes\s?[:=]\s?(?P<named>{_COUNT})", re.IGNORECASE
)
_LABEL = re.compile(r"[\[(\s]{0,8}(?P<label>[A-Za-z]\w{0,40})")
_NAMED = re.compile(
    rf"(?P<name>[A-Za-z][\w-]{{0,40}}(?: [A-Za-z][\w-]{{0,20}})?)\s{{0,2}}[:=]\s{{0,2}}(?P<number>{NUMBER})(?![\w.%])"
)
_WORD = re.compile(r"[a-z]+")
_SCORES = frozenset({"bpb", "mix", "mixed", "mixture"})
_OF_SCORES = frozenset({"val", "final", "byte", "bits", "per", "score"})
_FEWEST_DECIMALS = 4  # of a score that tells which one it is
_LONGEST_LINE = 1000
_MIN_TOKENS = 1000


@dataclass(frozen=True)
class PrintedCounts:
    """Tokens and bytes of an evaluation.

    Attributes:
        num_tokens: tokens.
        num_bytes: bytes.
        source: the line that prints the bytes.
        tokens_at: the line that prints the tokens.
        label: the word that the line begins with.
        scores: bits per byte that the line with the bytes prints, and that may be made of them.
    """

    num_tokens: int
    num_bytes: int
    source: Source
    tokens_at: Source
    label: str
    scores: tuple[Printed, ...]

    @property
    def bytes_per_token(self) -> float:
        """Bytes over tokens."""
        return self.num_bytes / self.num_tokens


@dataclass(frozen=True)
class _Line:
    number: int
    label: str
    tokens: int | None
    num_bytes: int | None
    scores: tuple[Printed, ...]


@final
@dataclass
class CountReader:
    """Takes the lines of a log, one after another.

    Args:
        file: the log's name.
    """

    file: str
    _last: _Line | None = None

    def take(self, line: str, low: str, number: int) -> PrintedCounts | None:
        """The counts that end with one more line, ``low`` in small letters; None where none do."""
        before, self._last = self._last, None
        has_bytes = "bytes" in low
        if not has_bytes and (before is None or "tokens" not in low):
            return None
        read = _read(line[:_LONGEST_LINE], Source(self.file, number), number)
        if read is None:
            return None
        if read.num_bytes is not None and read.tokens is not None:
            return self._counts(read, read)
        if read.num_bytes is not None:
            self._last = read if read.scores else None
            return None
        is_of_one = before is not None and before.number == number - 1 and read.label.startswith(before.label)
        return self._counts(before, read) if before is not None and is_of_one else None

    def _counts(self, of_bytes: _Line, of_tokens: _Line) -> PrintedCounts | None:
        num_tokens, num_bytes = of_tokens.tokens, of_bytes.num_bytes
        if num_tokens is None or num_bytes is None or num_tokens < _MIN_TOKENS:
            return None
        places = Source(self.file, of_bytes.number), Source(self.file, of_tokens.number)
        return PrintedCounts(num_tokens, num_bytes, *places, of_bytes.label, of_bytes.scores)


def _read(line: str, source: Source, number: int) -> _Line | None:
    """What a line prints; None where it has no label, or several numbers of tokens or bytes."""
    label, tokens, num_bytes = _LABEL.match(line), [*_TOKENS.finditer(line)], [*_BYTES.finditer(line)]
    if label is None or len(tokens) > 1 or len(num_bytes) > 1:
        return None
    own = frozenset(_WORD.findall(label["label"].lower()))
    scores = [
        score
        for found in _NAMED.finditer(line)
        if _is_of_counts(found["name"], own)
        and (score := parse_number(found["number"], source, found["name"])) is not None
        and (score.decimals or 0) >= _FEWEST_DECIMALS
    ]
    count = _count(tokens[0]["named"] or tokens[0]["counted"]) if tokens else None
    return _Line(number, label["label"], count, _count(num_bytes[0]["named"]) if num_bytes else None, tuple(scores))


def _is_of_counts(name: str, label: frozenset[str]) -> bool:
    """Whether a number is called a score, and by no word that would make it another evaluation's than the line's."""
    words = frozenset(_WORD.findall(name.lower()))
    return not words.isdisjoint(_SCORES) and words <= _SCORES | _OF_SCORES | label


def _count(text: str) -> int:
    return int(text.replace(",", ""))
