"""Known denominators: bytes per token of a data set under a tokenizer.

They come with a pack of rules. Rows of your own, which count under every pack, go into a CSV file that the environment
variable BPB_DENOMINATORS names.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

from bpb_harness.claim.names import vocabulary_of
from bpb_harness.errors import InputError

TABLE_VARIABLE = "BPB_DENOMINATORS"
_COLUMNS = ("dataset", "tokenizer", "scope", "num_tokens", "num_bytes", "bytes_per_token", "note")

LARGEST_TAIL = 5000  # tokens of a split that whole windows leave over
# Bytes per token of text under any vocabulary, from bytes as tokens on: what else a size implies is no size of a split.
_MIN_BYTES, _MAX_BYTES = 0.9, 8.0
_CUT_AFTER = 100_000  # tokens, or a multiple: where somebody cut another text, and no text ends by chance
FULL, TAIL_DROPPED, OLDER_EXPORT, PREFIX = "full", "tail-dropped", "older-export", "prefix"
SCOPES = (FULL, TAIL_DROPPED, OLDER_EXPORT, PREFIX)


@dataclass(frozen=True)
class Denominator:
    """Bytes per token of one text under one tokenizer.

    Attributes:
        dataset: the split, such as ``fineweb_val``.
        tokenizer: such as ``sp1024``.
        scope: ``full``, ``tail-dropped``, ``older-export`` or ``prefix``.
        num_tokens: its tokens.
        num_bytes: its bytes; None where only the ratio is known.
        bytes_per_token: bytes over tokens.
    """

    dataset: str
    tokenizer: str
    scope: str
    num_tokens: int
    num_bytes: int | None
    bytes_per_token: float

    @property
    def is_whole(self) -> bool:
        """Whether it stands for the split as a whole, not a part of it."""
        return self.scope != PREFIX

    @property
    def rounding(self) -> int:
        """Tokens by which the row may be off because its number of tokens is a rounded one; 0 for a count."""
        return _rounding(self.num_tokens)

    @property
    def ratio_rounding(self) -> float:
        """Relative; by what its bytes per token may be off because its tokens or bytes are rounded."""
        return self.rounding / self.num_tokens + _rounding(self.num_bytes or 0) / (self.num_bytes or 1)

    def holds(self, num_tokens: int) -> bool:
        """Whether a number of tokens that a log loads is this text's, its tail dropped or not."""
        return -self.rounding <= self.num_tokens - num_tokens < LARGEST_TAIL + self.rounding

    def __str__(self) -> str:
        return f"{self.dataset} ({self.scope.replace('-', ' ')}) under {self.tokenizer}"


def _rounding(count: int) -> int:
    zeros = len(str(count)) - len(str(count).rstrip("0"))
    return min(10**zeros // 2, count // 1000) if zeros >= 3 else 0


@dataclass(frozen=True)
class DenominatorTable:
    """Denominators that an audit may hold a record against.

    Attributes:
        rows: the user's own first.
    """

    rows: tuple[Denominator, ...] = ()

    def full_split(self, tokenizer: str | None, dataset: str | None = None) -> Denominator | None:
        """The whole split under a tokenizer; None where the table does not have it."""
        rows = (row for row in self.rows if row.tokenizer == tokenizer and row.scope == FULL)
        return next((row for row in rows if dataset is None or row.dataset == dataset), None)

    def split_of_size(self, num_tokens: int, dataset: str | None, vocabulary: str) -> Denominator | None:
        """The whole split, cut into so many tokens by a vocabulary that the table does not know.

        Its bytes are the same under every tokenizer that spells the text; None where the table does not give them, or
        where so many tokens cannot be the split's.

        Args:
            num_tokens: tokens of the split, as a log prints them.
            dataset: the split's name.
            vocabulary: what the row calls the tokenizer.
        """
        rows = [row for row in self.rows if row.dataset == dataset and row.scope == FULL]
        sizes = {row.num_bytes for row in rows if row.num_bytes is not None}
        if len(sizes) != 1 or num_tokens <= 0:
            return None
        num_bytes = sizes.pop()
        # A token that spells nothing stands before each document: as many tokens as bytes is another export.
        if not _MIN_BYTES <= num_bytes / num_tokens <= _MAX_BYTES or num_tokens == num_bytes:
            return None
        if num_tokens % _CUT_AFTER == 0:
            return None
        return Denominator(rows[0].dataset, vocabulary, FULL, num_tokens, num_bytes, num_bytes / num_tokens)

    def tokenizer_of_split(self, num_tokens: int) -> str | None:
        """The tokenizer whose split has this many tokens, its tail dropped or not; None where none or several do."""
        whole = [row for row in self.rows if row.is_whole]
        near = {row.tokenizer for row in whole if row.num_bytes is not None and row.holds(num_tokens)}
        near |= {row.tokenizer for row in whole if row.num_tokens == num_tokens}
        return near.pop() if len(near) == 1 else None

    def bits_of_untrained(self, tokenizer: str | None, bytes_per_token: float) -> float | None:
        """log2 V, the loss of an untrained network in bits per token: by the tokenizer's name, else by the table.

        Larger vocabularies have more bytes per token; the table's own rows tell how many.
        """
        pieces = vocabulary_of(tokenizer)
        if pieces is not None:
            return math.log2(pieces)
        return _on_line(self._vocabularies(), bytes_per_token)

    def usual_bytes_per_token(self, bits_of_vocabulary: float) -> float | None:
        """Bytes per token of a vocabulary of 2 to the power of so many pieces, by the table's own rows."""
        return _on_line([(bits, ratio) for ratio, bits in self._vocabularies()], bits_of_vocabulary)

    def _vocabularies(self) -> list[tuple[float, float]]:
        """Bytes per token and log2 V of the tokenizers whose names tell V."""
        named = {row.tokenizer: row.bytes_per_token for row in self.rows if row.scope == FULL}
        return sorted((ratio, math.log2(int(name[2:]))) for name, ratio in named.items() if name[2:].isdigit())


def _on_line(points: list[tuple[float, float]], x: float) -> float | None:
    """The line through the two points around x, or through the last two."""
    if len(points) < 2:
        return None
    at = next((i for i, (there, _) in enumerate(points[1:-1], 1) if there >= x), len(points) - 1)
    (low, y_low), (high, y_high) = points[at - 1], points[at]
    return y_low + (y_high - y_low) * (x - low) / (high - low)


def own_rows() -> tuple[Denominator, ...]:
    """The user's own rows.

    Raises:
        InputError: if the user's table cannot be read.
    """
    own = os.environ.get(TABLE_VARIABLE)
    return _table(Path(own)) if own else ()


@cache
def _table(path: Path) -> tuple[Denominator, ...]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        seen = problem.strerror if isinstance(problem, OSError) else type(problem).__name__
        raise _wrong(f"table of denominators {path}", seen, "a CSV file") from problem
    return tuple(_denominators(text, str(path)))


def _wrong(where: str, seen: object, expected: str) -> InputError:
    """Of the user's table, which an environment variable names: nothing on a command line does."""
    return InputError(where, seen=seen, expected=expected, hint=f"mend it, or unset {TABLE_VARIABLE}, which names it")


def _denominators(text: str, file: str) -> Iterator[Denominator]:
    try:
        yield from _rows(text, file)
    except csv.Error as problem:
        raise _wrong(f"table of denominators {file}", problem, "a CSV file") from problem


def _rows(text: str, file: str) -> Iterator[Denominator]:
    reader = csv.DictReader(StringIO(text))
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise _wrong(f"{file}: columns", ",".join(reader.fieldnames or ()), ",".join(_COLUMNS))
    for row in reader:
        where = f"{file}:{reader.line_num}"
        try:
            num_tokens = int(row["num_tokens"])
            num_bytes = int(row["num_bytes"]) if row["num_bytes"] else None
            ratio = num_bytes / num_tokens if num_bytes and num_tokens else float(row["bytes_per_token"])
            stated = float(row["bytes_per_token"] or ratio)
        except (TypeError, ValueError, OverflowError) as problem:
            raise _wrong(where, problem, "whole numbers and a ratio") from problem
        if (
            num_tokens <= 0
            or num_bytes == 0
            or None in row
            or not math.isfinite(ratio)
            or ratio <= 0.0
            or row["scope"] not in SCOPES
        ):
            raise _wrong(where, str(dict(row))[:120], f"positive numbers and a scope of {SCOPES}")
        if abs(stated / ratio - 1.0) > 1e-3:
            raise _wrong(where, f"{stated} bytes per token", f"{ratio:.6f}, bytes over tokens")
        yield Denominator(row["dataset"], row["tokenizer"], row["scope"], num_tokens, num_bytes, ratio)
