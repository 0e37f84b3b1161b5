"""Documents held against a stream in which no known token sets them off: their own tokens tell where each ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.counter import ByteCounter, TokenSource
from bpb_harness.byte_count.ground_truth import Disagreement, GroundTruth, Reason, compare_document, token_disagreement
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer


@dataclass(frozen=True)
class Following:
    """How far documents, encoded one after the other, are the tokens of a stream.

    Attributes:
        starts: (documents,) where each that was found starts.
        num_tokens: tokens from the start that are theirs, with what stands between them.
        between: the tokens that stand between them, each once.
        is_whole: they are the whole stream, and there is no document more.
    """

    starts: NDArray[np.int64]
    num_tokens: int
    between: tuple[int, ...]
    is_whole: bool


def follow_documents(
    tokenizer: Tokenizer, source: TokenSource, documents: Iterable[str]
) -> tuple[GroundTruth, Following]:
    """Walk along a stream with the tokens of one document after the other.

    Control tokens between documents are passed over, and so is one other token: where a vocabulary does not say which
    of its entries are special, that is what sets documents off.

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
        start = _find(tokenizer, source, end, expected, between)
        if start is None:
            parted = True
            if end < source.num_tokens:
                _add_parting(
                    tokenizer, truth, index, text, source.read(end, min(end + len(expected), source.num_tokens))
                )
            break
        compare_document(tokenizer, counter, truth, index, text, expected, belongs=None)
        starts.append(start)
        end = start + len(expected)
    while end < source.num_tokens and _may_pass(tokenizer, int(source.read(end, end + 1)[0]), between):
        end += 1
    is_whole = not parted and end == source.num_tokens
    return truth, Following(np.array(starts, np.int64), end, tuple(between), is_whole)


def _find(
    tokenizer: Tokenizer, source: TokenSource, start: int, expected: NDArray[np.int64], between: dict[int, None]
) -> int | None:
    """Where the tokens of a document start, at `start` or behind tokens that may stand between documents."""
    passed: list[int] = []
    while start + len(expected) <= source.num_tokens:
        tokens = source.read(start, min(start + len(expected) + 1, source.num_tokens))
        if np.array_equal(tokens[: len(expected)], expected):
            between.update(dict.fromkeys(passed))
            return start
        one = int(tokens[0])
        is_first_of_its_kind = all(_is_control(tokenizer, token) for token in (*between, *passed))
        if not _may_pass(tokenizer, one, between) and not is_first_of_its_kind:
            return None
        passed.append(one)
        start += 1
    return None


def _may_pass(tokenizer: Tokenizer, token: int, between: dict[int, None]) -> bool:
    return token in between or _is_control(tokenizer, token)


def _is_control(tokenizer: Tokenizer, token: int) -> bool:
    return bool(tokenizer.piece_kinds[token] == PieceKind.CONTROL)


def _add_parting(tokenizer: Tokenizer, truth: GroundTruth, index: int, text: str, tokens: NDArray[np.int64]) -> None:
    disagreement = token_disagreement(tokenizer, index, text, tokens)
    assert disagreement is not None
    other = Disagreement(index, disagreement.position, Reason.OTHER_TEXT, disagreement.expected, disagreement.seen)
    truth.tokens.add(other)
    truth.pieces.add(Disagreement(index, 0, Reason.OTHER_TEXT, text[:24], ""))
