"""Answers: each sees its prompt, cut from the left where both together are longer than the network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.text.answers import Answers
from bpb_harness.text.layouts.cut import cut
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class AnswerSpans:
    """The spans of answers.

    Attributes:
        spans: S of them, in the order of the answers.
        answer: of each span, (S,) int64.
        num_cut: tokens of each answer's prompt that none of its targets sees, (N,) int64.
        num_context: tokens that its first span sees, (N,) int64.
    """

    spans: Spans
    answer: Ints
    num_cut: Ints
    num_context: Ints

    def __len__(self) -> int:
        return len(self.num_cut)

    def first(self, count: int | None) -> AnswerSpans:
        """The first answers; all if None."""
        kept = slice(count)
        spans = np.flatnonzero(self.answer < len(self.num_cut[kept]))
        return AnswerSpans(self.spans.take(spans), self.answer[spans], self.num_cut[kept], self.num_context[kept])

    def share(self, whole: Ints, parts: Ints) -> Ints:
        """What each answer has, dealt out to its spans in proportion to `parts` and in whole numbers, (N,) -> (S,)."""
        sums = np.cumsum(parts)
        before = np.concatenate([[0], sums])[np.searchsorted(self.answer, np.arange(len(self)))]
        within, all_of_it = sums - before[self.answer], np.bincount(self.answer, weights=parts, minlength=len(self))
        upto = np.floor(within * (whole / np.maximum(all_of_it, 1.0))[self.answer] + 0.5).astype(np.int64)
        is_last = np.append(self.answer[1:] != self.answer[:-1], True)
        upto[is_last] = whole
        return np.asarray(upto - np.where(np.append(True, is_last[:-1]), 0, np.append(0, upto[:-1])), dtype=np.int64)

    def of_spans(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sums over the spans of each answer, (S,) -> (N,)."""
        return np.asarray(np.bincount(self.answer, weights=values, minlength=len(self)), dtype=np.float64)


def answer_spans(answers: Answers, context_length: int, *, stride: int | None = None, given: int = 0) -> AnswerSpans:
    """Lay a span over each answer, or several where it is longer than the context length.

    Args:
        answers: where they lie.
        context_length: most tokens that the network takes at once.
        stride: S: an answer that is longer is cut into spans of S targets, each with as much before it as fits.
        given: 1 of a causal network, which predicts each token from those before it: the last one is not in its input,
            and the first of a text cannot be paid for.

    Raises:
        UsageError: a stride that does not lie in 1 .. context_length.
        CorpusError: an answer that is longer than the context length, without a stride; of a causal network, one with
            nothing before it.
    """
    if stride is not None and not 1 <= stride <= context_length:
        raise UsageError("--stride", seen=stride, expected=f"1 .. {context_length}, the context length")
    _require_given(answers, given)
    lengths = answers.ends - answers.target_starts
    too_long = lengths > context_length
    if too_long.any() and stride is None:
        longer = int(np.argmax(too_long))
        raise CorpusError(
            f"{answers.places[longer]}: the answer is longer than the network takes", seen=f"{lengths[longer]} tokens",
            expected=f"at most {context_length}", hint=f"pass --stride {max(context_length // 2, 1)} to cut it",
        )  # fmt: skip
    # 1. One span an answer, or several that lie end to end.
    starts, ends, answer = answers.target_starts, answers.ends, np.arange(len(answers))
    if stride is not None and too_long.any():
        pieces = [
            cut(int(start), int(end), stride if is_long else int(end - start))
            for start, end, is_long in zip(starts, ends, too_long, strict=True)
        ]
        starts, ends = (np.concatenate([piece[side] for piece in pieces]) for side in (0, 1))
        answer = np.repeat(answer, [len(piece[0]) for piece in pieces])
    # 2. As much of the document before each as fits.
    context_starts = np.maximum(answers.starts[answer], ends - given - context_length)
    first = np.searchsorted(answer, np.arange(len(answers)))
    num_cut = context_starts[first] - answers.starts
    return AnswerSpans(Spans(context_starts, starts, ends), answer, num_cut, (starts - context_starts)[first])


def _require_given(answers: Answers, given: int) -> None:
    alone = np.flatnonzero(answers.target_starts - answers.starts < given)
    if len(alone):
        raise CorpusError(
            f"{answers.places[int(alone[0])]}: nothing stands before the answer, whose first token cannot be predicted",
            seen="an empty prompt and no token between documents" if given else None,
            expected="a prompt of a token or more",
            hint="pass --separator bos, or leave that document out",
        )
