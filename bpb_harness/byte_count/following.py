"""Documents held against a stream in which no known token sets them off: their own tokens tell where each ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import ByteCounter, TokenSource
from bpb_harness.byte_count.ground_truth import Disagreement, GroundTruth, Reason, compare_document, token_disagreement
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer

_SHOWN_TOKENS = 64


@dataclass(frozen=True)
class Following:
    """How far documents, encoded one after the other, are the tokens of a stream.

    Attributes:
        starts: (documents,) where each that was found starts.
        num_tokens: tokens from the start that are theirs, with what stands between them.
        between: the control tokens that stand between them, each once.
        is_whole: they are the whole stream, and there is no document more.
    """

    starts: NDArray[np.int64]
    num_tokens: int
    between: tuple[int, ...]
    is_whole: bool


def follow_documents(
    tokenizer: Tokenizer, source: TokenSource, documents: Iterable[str]
) -> tuple[GroundTruth, Following]:
    """Walk along a stream with the tokens of one document after the other; control tokens between them are passed over.

    Args:
        tokenizer: the one that the tokens are said to come from.
        source: the tokens.
        documents: the texts, in the same order. Those behind the first that is not there are not read.

    Returns:
        The sums over the documents that were found, with the first that was not; and how far they went.
    """
    counter, truth = ByteCounter(tokenizer), GroundTruth()
    starts: list[int] = []
    between: dict[int, None] = {}
    end, parted = 0, False
    for index, text in enumerate(documents):
        expected = tokenizer.encode(text)
        start = _pass_controls(tokenizer, source, end, between)
        tokens = source.read(start, min(start + len(expected), source.num_tokens))
        if not np.array_equal(tokens, expected):
            parted = True
            if start < source.num_tokens:
                _add_parting(tokenizer, truth, index, text, tokens)
            break
        compare_document(tokenizer, counter, truth, index, text, tokens, belongs=None)
        starts.append(start)
        end = start + len(expected)
    end = _pass_controls(tokenizer, source, end, between)
    is_whole = not parted and end == source.num_tokens
    return truth, Following(np.array(starts, np.int64), end, tuple(between), is_whole)


def _pass_controls(tokenizer: Tokenizer, source: TokenSource, start: int, passed: dict[int, None]) -> int:
    while start < source.num_tokens:
        tokens = source.read(start, min(start + _SHOWN_TOKENS, source.num_tokens))
        texts = np.flatnonzero(tokenizer.piece_kinds[tokens] != PieceKind.CONTROL)
        count = int(texts[0]) if len(texts) else len(tokens)
        passed.update(dict.fromkeys(tokens[:count].tolist()))
        start += count
        if count < len(tokens):
            break
    return start


def _add_parting(tokenizer: Tokenizer, truth: GroundTruth, index: int, text: str, tokens: NDArray[np.int64]) -> None:
    disagreement = token_disagreement(tokenizer, index, text, tokens)
    assert disagreement is not None
    other = Disagreement(index, disagreement.position, Reason.OTHER_TEXT, disagreement.expected, disagreement.seen)
    truth.tokens.add(other)
    truth.pieces.add(Disagreement(index, 0, Reason.OTHER_TEXT, text[:24], ""))
