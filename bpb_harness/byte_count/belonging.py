"""Does a tokenizer belong to a stream of tokens? Asked of the tokens alone, without the text.

An encoder has one way of writing a text. So what the tokens spell, encoded again, must give the same tokens; with
another vocabulary the same ids spell other text, which its encoder never writes like that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import TokenSource
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer
from bpb_harness.errors import TokenizerError

_EXCERPT_TOKENS = 1024
_CUT_TOKENS = 16  # at a cut the encoder may join what the document went on with
# Measured: 1.0 where the tokenizer belongs, 0.0 where it does not; but 0.75 with a vocabulary of whole words that are
# never merged, which writes any row of its own words the same way again.
_LEAST_SHARE = 0.95
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
        return None if not self.num_excerpts else self.num_identical >= _LEAST_SHARE * self.num_excerpts

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
