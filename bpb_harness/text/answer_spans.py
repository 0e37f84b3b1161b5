"""Answers: each sees its prompt, cut from the left where both together are longer than the network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.text.answers import Answers
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

    def share(self, whole: Ints, parts: Ints) -> Ints:
        """What each answer has, dealt out to its spans in proportion to `parts` and in whole numbers, (N,) -> (S,)."""
        sums, opening = np.cumsum(parts), self._opening
        before = (sums - parts)[opening]
        within, all_of_it = sums - before[self.answer], np.bincount(self.answer, weights=parts, minlength=len(self))
        upto = np.floor(within * (whole / np.maximum(all_of_it, 1.0))[self.answer] + 0.5).astype(np.int64)
        is_last = np.append(self.answer[1:] != self.answer[:-1], True)
        upto[is_last] = whole
        previous = np.append(0, upto[:-1])
        previous[opening] = 0
        return np.asarray(upto - previous, dtype=np.int64)

    @property
    def _opening(self) -> Ints:
        """The first span of each answer, (N,)."""
        return np.searchsorted(self.answer, np.arange(len(self)))

    def of_spans(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sums over the spans of each answer, (S,) -> (N,)."""
        return np.asarray(np.bincount(self.answer, weights=values, minlength=len(self)), dtype=np.float64)


def answer_spans(
    answers: Answers, context_length: int, *, stride: int | None = None, given: int = 0, block_size: int | None = None
) -> AnswerSpans:
    """Lay a span over each answer, or several where it is longer than the context length, or lies in several blocks.

    Args:
        answers: where they lie.
        context_length: most tokens that the network takes at once.
        stride: S: an answer that is longer is cut into spans of S targets, each with as much before it as fits.
        given: 1 of a causal network, which predicts each token from those before it: the last one is not in its input,
            and the first of a text cannot be paid for.
        block_size: B of a network that predicts blocks, counted from where a span's input begins: spans end there.

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
    first = answers.target_starts
    answer, starts, ends = _cut(np.arange(len(answers)), first, answers.ends, first, np.where(too_long, stride or 0, 0))
    # 2. As much of the document before each as fits.
    context_starts = np.maximum(answers.starts[answer], ends - given - context_length)
    # 3. Of a network of blocks, no span reaches into a second one.
    if block_size is not None:
        which, starts, ends = _cut(
            np.arange(len(answer)), starts, ends, context_starts, np.full(len(answer), block_size)
        )
        answer, context_starts = answer[which], context_starts[which]
    opening = np.searchsorted(answer, np.arange(len(answers)))
    num_cut = context_starts[opening] - answers.starts
    return AnswerSpans(Spans(context_starts, starts, ends), answer, num_cut, (starts - context_starts)[opening])


def _cut(which: Ints, starts: Ints, ends: Ints, origins: Ints, steps: Ints) -> tuple[Ints, Ints, Ints]:
    """Cut stretches at whole steps from an origin, or not at all where the step is 0.

    Args:
        which: what to call each stretch, (n,).
        starts: of each.
        ends: of each.
        origins: where its steps are counted from, at or before its start.
        steps: tokens.

    Returns:
        Of each part, in order: which stretch it is of, its start and its end.
    """
    first = np.where(steps > 0, (starts - origins) // np.maximum(steps, 1), 0)
    last = np.where(steps > 0, (ends - 1 - origins) // np.maximum(steps, 1), 0)
    counts = last - first + 1
    part = np.repeat(np.arange(len(which)), counts)
    number = np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts, counts) + first[part]
    whole = steps[part] == 0
    begin = np.maximum(origins[part] + number * steps[part], starts[part])
    end = np.where(whole, ends[part], np.minimum(origins[part] + (number + 1) * steps[part], ends[part]))
    return which[part], np.where(whole, starts[part], begin), end


def _require_given(answers: Answers, given: int) -> None:
    alone = np.flatnonzero(answers.target_starts - answers.starts < given)
    if len(alone):
        raise CorpusError(
            f"{answers.places[int(alone[0])]}: nothing stands before the answer, whose first token cannot be predicted",
            seen="an empty prompt and no token between documents" if given else None,
            expected="a prompt of a token or more",
            hint="pass --separator bos, or leave that document out",
        )
